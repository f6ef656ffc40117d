"""The notebooks, run as a reader would run them: from another folder, every cell, top to bottom."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
NAMES = ("01_quickstart", "02_sync_vs_async", "03_scaling_and_capacity", "04_evaluate_and_gate")
MOST_S = 240
LARGEST = 300_000


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def outputs_of(notebook):
    """The outputs of each code cell by its id."""
    return {cell["id"]: cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"}


def executed(name, folder, **changed):
    """The outputs after an execution with `folder` as working directory; `changed` texts of cells make it cheaper."""
    notebook = read(name)
    for cell in notebook["cells"]:
        for old, new in changed.get(cell["id"], {}).items():
            assert old in cell["source"]
            cell["source"] = cell["source"].replace(old, new)
    settings = {"timeout": MOST_S, "kernel_name": "python3", "resources": {"metadata": {"path": str(folder)}}}
    NotebookClient(notebook, **settings).execute()  # a cell that fails raises CellExecutionError
    assert not list(folder.iterdir())
    return outputs_of(notebook)


def html_of(outputs):
    return "".join(output.get("data", {}).get("text/html", "") for output in outputs)


def text_of(outputs):
    return "".join(output.get("text", "") for output in outputs)


def drawings_of(outputs):
    return [output["data"]["image/svg+xml"] for output in outputs if "image/svg+xml" in output.get("data", {})]


def shown_without_tags(outputs):
    return re.sub(r"<[^>]*>", "", html_of(outputs))


def check_01(outputs):
    assert "quickstart.jsonl: 64 prompts, with references" in html_of(outputs["prompts"])
    assert "async against sync" in html_of(outputs["comparison"])
    assert "dashboard: http://127.0.0.1" in text_of(outputs["quark"])
    assert "report.html: " in text_of(outputs["report"])


def check_02(outputs):
    assert drawings_of(outputs["agents"])
    assert re.search(r"trials in [\d.]+ s", shown_without_tags(outputs["run"])), "what is left of the progress"
    assert re.search(r"<th scope='row'>throughput</th><td>[\d.]+x</td>", html_of(outputs["comparison"]))
    assert "of the critical path" in outputs["path"][0]["data"]["text/plain"]
    assert all(drawings_of(outputs[name]) for name in ("attribution", "path", "waterfall"))
    assert "on the critical path" in shown_without_tags(outputs["prompt"])


def check_03(outputs):
    assert "if one agent was faster" in shown_without_tags(outputs["whatif"])
    for name, headers in (("predicted", ("predicted", "measured")), ("capacity", ("simulated", "measured"))):
        assert all(header in shown_without_tags(outputs[name]) for header in headers)
    assert "rate limit" in shown_without_tags(outputs["walls"])
    assert drawings_of(outputs["figure"])
    assert all(word in shown_without_tags(outputs["granularity"]) for word in ("chunk", "agent", "took"))


def check_04(outputs):
    careful, hasty = text_of(outputs["verdict"]).splitlines()
    assert careful.split()[-1] in ("pass", "inconclusive")  # the latter where the machine is busy
    assert hasty.split()[-1] == "regressed"
    assert "regressed against pipeline calculator" in shown_without_tags(outputs["regressed"])
    assert "mean_latency_s of async" in text_of(outputs["history"])
    assert any("image/png" in output.get("data", {}) for output in outputs["history"])


CHECKS = dict(zip(NAMES, (check_01, check_02, check_03, check_04), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_with_small_outputs_that_show_what_it_says(name):
    notebook = read(name)
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < LARGEST
    assert [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"] == list(
        range(1, len(outputs_of(notebook)) + 1)
    ), "every cell was run once, in order"
    assert not [each for outputs in outputs_of(notebook).values() for each in outputs if each["output_type"] == "error"]
    CHECKS[name](outputs_of(notebook))


def test_the_readme_opens_every_notebook_in_their_order():
    readme = (NOTEBOOKS.parent / "README.md").read_text("utf-8")
    assert re.findall(r"\(notebooks/(\w+)\.ipynb\)", readme) == list(NAMES)
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == list(NAMES)


def test_the_quickstart_runs_in_any_folder(tmp_path):
    check_01(executed("01_quickstart", tmp_path, run={"limit(16)": "limit(4)"}, quark={"limit(8)": "limit(2)"}))


def test_sync_and_async_are_compared_in_any_folder(tmp_path):
    check_02(executed("02_sync_vs_async", tmp_path, prompts={"limit(32)": "limit(16)"}))


def test_predictions_stand_beside_measurements_in_any_folder(tmp_path):
    check_03(executed("03_scaling_and_capacity", tmp_path, agents={"range(48)": "range(16)"}))


def test_a_gate_passes_and_another_regresses_in_any_folder(tmp_path):
    check_04(executed("04_evaluate_and_gate", tmp_path, nightly={"* 7": "* 1"}))
