import pandas as pd
import pytest

from quark_bench import Dataset, Prompt, bench
from quark_bench.model_calls import COLUMNS, sum_calls
from quark_bench.model_use import Limits, ModelUse
from quark_bench.report.html import render
from quark_bench.report.model_cells import model_lines, model_rows, ration_lines

from .pipelines.parrot import Parrot, asking


def frame(**columns):
    """Calls of nothing in particular, as a part of the stored table has them."""
    n = max(len(values) for values in columns.values())
    usual = {"arm": "async", "model": "m", "status": "ok", "start_s": 0.0, "sent_s": 1.0, "end_s": 3.0, "waited_s": 1.0}
    usual |= {"first_token_s": 0.5, "inter_token_s": None, "tokens_in": 5, "tokens_out": 2, "estimated": False}
    usual |= {"cost_usd": 0.0, "finish_reason": "stop", "retries": 0, "prompt_id": "p"}
    return pd.DataFrame({name: columns.get(name, [usual[name]] * n) for name in COLUMNS})


def test_calls_add_up_over_parts_by_arm_and_model():
    parts = [
        frame(arm=["async", "sync"], prompt_id=["p-1", "p-1"], retries=[2, 0]),
        frame(status=["ok", "failed", "cancelled"], end_s=[2.0, 9.0, 9.0], estimated=[True, False, False]),
    ]
    sync, both = sum_calls(parts, ["sync", "async"])
    assert (sync.arm, sync.calls, both.calls) == ("sync", 1, 4)
    assert both.statuses == {"ok": 2, "failed": 1, "cancelled": 1}
    assert (both.retries, both.tokens_in, both.estimated, sync.estimated) == (2, 20, True, False)
    assert sorted(both.took_s) == [1.0, 2.0]
    assert both.quantile_s("inter_token_s", 0.5).value is None
    assert both.quantile_s("first_token_s", 0.5).value == 0.5


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    prompts = Dataset([Prompt(f"p-{n}", f"<b>word{n}</b>") for n in range(8)], "prompts")
    use = ModelUse(Limits(calls=2))
    out = tmp_path_factory.mktemp("reports")
    return bench(prompts, asking(Parrot()), arms=["async"], on="inline", warmup=0, out=out, use=use)


def test_models_and_limits_are_told_in_the_terminal_and_on_the_page(limited):
    (line,) = model_lines(limited.findings)
    assert line.startswith("async: parrot: 16 calls, answered in ")
    assert "$8.00" in line
    assert list(ration_lines(limited.findings)) == ["Limits of parrot: at most 2 calls at once"]
    page = render(limited.findings)
    assert '<section id="models">' in page
    assert "at most 2 calls at once" in page


def test_a_row_has_a_cell_for_every_heading(limited):
    (row,) = model_rows(limited.findings)
    assert [value for value, _ in row.cells][:1] == ["16"]
    assert all(isinstance(told, str) for _, told in row.cells)
