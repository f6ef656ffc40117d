"""The names that `from quark_bench import ...` gives."""

import importlib
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import quark_bench


def test_public_names_are_sorted_and_listed_once():
    assert quark_bench.__all__ == sorted(set(quark_bench.__all__))
    assert dir(quark_bench) == quark_bench.__all__


@pytest.mark.parametrize("name", quark_bench.__all__)
def test_a_public_name_is_importable_and_documented(name):
    found = getattr(quark_bench, name)
    assert not isinstance(found, ModuleType)
    assert inspect.getdoc(found)


def test_a_star_import_gives_exactly_the_public_names():
    names = {}
    exec("from quark_bench import *", names)
    assert set(names) - {"__builtins__"} == set(quark_bench.__all__)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="no attribute 'benchh'"):
        quark_bench.benchh  # noqa: B018


@pytest.mark.parametrize("name", ["agent", "bench"])
def test_a_name_shared_with_a_module_stays_the_function(name):
    module = importlib.import_module(f"quark_bench.{name}")
    assert isinstance(module, ModuleType)
    assert inspect.isfunction(getattr(quark_bench, name))
    assert getattr(quark_bench, name) is getattr(module, name)


@pytest.mark.parametrize("first", ["quark_bench.agent, quark_bench.bench", "quark_bench.cli.app, quark_bench.run"])
def test_the_functions_win_when_the_modules_are_imported_first(first):
    code = f"import {first}; from quark_bench import agent, bench; print(agent.__name__, bench.__name__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == ["agent", "bench"]
