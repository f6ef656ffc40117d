"""A gate's result in the terminal."""

import io
import re

import pytest
from hypothesis import given
from rich.console import Console

from quark_bench.report.gate_table import gate_table

from .gate_results import MADE, PASSED, REGRESSED, hostile, results


def shown(result, **options):
    console = Console(width=80, file=io.StringIO(), **options)
    console.print(gate_table(result))
    return console.file.getvalue()


@pytest.mark.parametrize("result", MADE)
def test_the_verdict_is_read_without_colour_and_fits_80_columns(result):
    text = shown(result)
    assert result.verdict.value.split()[0] in text.replace("no false alarm", "pass")
    assert max(map(len, text.splitlines())) <= 80


def test_each_measure_is_a_row_with_its_bounds_below():
    lines = shown(REGRESSED).splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("latency") and "307 ms" in line)
    assert lines[row].split() == ["latency", "307", "ms", "375", "ms", "1.220x", "regressed"]
    assert lines[row + 1].split() == ["1.210x", "to", "1.230x"]
    assert lines[row + 2].startswith("throughput")


def test_the_verdict_is_coloured():
    told = {"force_terminal": True, "color_system": "standard", "legacy_windows": False}
    assert "\x1b[1;31mregressed" in shown(REGRESSED, **told)
    assert "\x1b[32mpass" in shown(PASSED, **told)


@given(results)
def test_any_result_fits_80_columns(result):
    from rich.cells import cell_len

    assert max(map(cell_len, shown(result).splitlines())) <= 80


def test_names_can_steer_no_terminal():
    text = shown(hostile("[red]q\x1b[31m\n\x9b\u202e[/red]"))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "\\x1b" in text
