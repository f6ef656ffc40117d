"""What is loaded before it is needed. Counted in modules: seconds belong to the machine."""

import subprocess
import sys

import pytest

HEAVY = {"dask", "distributed", "pandas", "numpy", "scipy", "pyarrow", "matplotlib", "sklearn", "jinja2"}
COMMAND = """
import sys
sys.argv = {arguments!r}
from quark_bench.cli import main
try:
    main()
finally:
    print(*sys.modules, sep="\\n", file=sys.stderr)
"""


def loaded(code, folder):
    """Names of the modules that a fresh Python has loaded after the code."""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return set(told.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import quark_bench",
        "from quark_bench import Agent, Arm, Call, Dataset, Model, Pipeline, Policy, Prompt, Reply, agent",
        "from quark_bench import Dataset; Dataset.of(['a'])",
    ],
)
def test_importing_the_package_loads_no_heavy_library(code, tmp_path):
    names = loaded(f"{code}\nimport sys\nprint(*sys.modules, sep='\\n', file=sys.stderr)", tmp_path)
    assert "quark_bench" in names
    assert not names & HEAVY


def test_importing_the_package_loads_little_more_than_a_bare_python_does(tmp_path):
    tell = "import sys; print(*sys.modules, sep='\\n', file=sys.stderr)"
    bare = loaded("import asyncio, csv, difflib, hashlib, inspect, json, tempfile; " + tell, tmp_path)
    ours = {name for name in loaded("import quark_bench; " + tell, tmp_path) if not name.startswith("quark_bench")}
    assert len(ours) < 2 * len(bare)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["ls", "--help"],
        ["history", "--help"],
        ["--version"],
        ["run", "nowhere.jsonl"],
        ["run", "--bogus"],
    ],
    ids=" ".join,
)
def test_help_and_plain_mistakes_load_no_heavy_library(arguments, tmp_path):
    names = loaded(COMMAND.format(arguments=["quark-bench", *arguments]), tmp_path)
    assert "quark_bench.cli.app" in names
    assert not names & HEAVY
