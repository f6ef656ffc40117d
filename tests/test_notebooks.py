"""The notebooks, run as a reader would run them: from another folder, every cell, top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
MOST_S = 120


def read(name):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def run(notebook, folder):
    """The outputs of each code cell by its id, executed with `folder` as working directory."""
    executed = NotebookClient(
        notebook, timeout=MOST_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return {cell["id"]: cell["outputs"] for cell in executed["cells"] if cell["cell_type"] == "code"}


def html_of(outputs):
    return "".join(output.get("data", {}).get("text/html", "") for output in outputs)


def text_of(outputs):
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_a_notebook_is_stored_without_outputs(name):
    code = [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_the_quickstart_runs_in_any_folder_and_shows_the_comparison(tmp_path):
    outputs = run(read("01_quickstart.ipynb"), tmp_path)  # a cell that fails raises CellExecutionError here
    assert not [output for each in outputs.values() for output in each if output["output_type"] == "error"]
    assert "async against sync" in html_of(outputs["comparison"])
    assert "throughput" in html_of(outputs["comparison"])
    assert "dashboard: http://127.0.0.1" in text_of(outputs["quark"])
    assert Path(text_of(outputs["report"]).removeprefix("report: ").strip()).is_file()
    assert not list(tmp_path.iterdir())
