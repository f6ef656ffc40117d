"""What is told of an open load, in a terminal, on the page and to machines."""

import io

import pytest
from rich.console import Console

from quark_bench import Dataset, Pipeline, bench
from quark_bench.report.tables import ls_table, run_table
from quark_bench.run import Run
from quark_bench.summary import summary

from .pipelines.waits import wait


@pytest.fixture(scope="module")
def overloaded(tmp_path_factory):
    """A run whose prompts come far faster than the one that may be under way ends."""
    dataset = Dataset.of([f"text {n}" for n in range(30)])
    load = {"rate": 1_000, "arrivals": "constant", "in_flight": 1}
    out = tmp_path_factory.mktemp("runs")
    return bench(dataset, Pipeline("waits", [wait("slow", 0.02)]), on="inline", warmup=1, out=out, **load)


def printed(shown):
    console = Console(width=80, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()


def test_a_client_that_could_not_keep_up_marks_every_title_with_why_and_what_to_do(overloaded):
    (told,) = summary(overloaded)["arrivals"]
    assert (told["arm"], told["asked"], told["kept_up"]) == ("async", "constant, 1000/s", False)
    title = overloaded.findings.titled("Title")
    assert title.startswith("Title, open load (constant, 1000/s), async could not keep up with it (1 % started over ")
    assert title.endswith("; all 1 in flight were taken: raise --in-flight, or lower --rate)")
    text = printed(run_table(overloaded.findings))
    assert "Arrivals  async, constant, 1000/s: could not keep up" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "could not keep up" in " ".join(printed(ls_table([overloaded.manifest])).split())


def test_the_page_has_a_section_on_arrivals_after_the_objectives(overloaded):
    page = overloaded.report().read_text("utf-8")
    assert page.index('<section id="objectives">') < page.index('<section id="arrivals">')
    assert "Arrivals under async, open load (constant, 1000/s), async could not keep up" in page
    assert "index of dispersion" in page


def test_what_is_told_of_a_stored_run_is_what_was_told_when_it_ended(overloaded):
    assert summary(Run(overloaded.path)) == summary(overloaded)
    assert Run(overloaded.path).manifest["arrivals"] == summary(overloaded)["arrivals"]


def test_the_throughput_of_an_open_load_says_that_a_schedule_set_it(overloaded):
    assert "by the schedule" in overloaded.measures["async"]["throughput_per_s"].note
    whatif = overloaded.what_if({"slow": 0.5})
    (rate,) = (each for each in whatif.predicted if each.name == "throughput_per_s")
    assert rate.now == rate.then
