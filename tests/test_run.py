"""Run: a run's directory as tables, measures, comparisons and a report."""

import json

import pytest

from quark_bench import Dataset, Pipeline, Prompt, QuarkBenchError, Run, agent, bench
from quark_bench.errors import RunNotFoundError, UsageError
from quark_bench.summary import summary

PROMPTS = [Prompt(f"q-{n}", f"text {n}", reference=(f"text {n}" if n % 2 else "else",)) for n in range(8)]
ROWS = [{"id": prompt.id, "question": prompt.text, "reference": list(prompt.reference)} for prompt in PROMPTS]


@agent
def first(prompt):
    return prompt.text


@agent
async def answer(prompt, first):
    if prompt.id == "q-3":
        raise ValueError("no <answer>")
    return first


PIPELINE = Pipeline("echo", [first, answer], answer="answer")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def prompt_file(out):
    path = out / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    return path


@pytest.fixture(scope="module")
def run(out, prompt_file):
    dataset = Dataset.read(prompt_file, fields={"text": "question"})
    return bench(dataset, PIPELINE, on="inline", in_flight=4, warmup=1, repeats=2, slos=["failed_share<50%"], out=out)


@pytest.fixture
def opened(run):
    """The same run, as another program finds it on disk."""
    return Run.open(run.path)


def test_a_run_says_what_became_of_its_trials(opened):
    assert repr(opened) == f"Run({opened.path.name!r}, complete, 42 of 48 ok)"
    assert opened.arms == ("sync", "parallel", "async")
    assert opened.layout == (("first", ()), ("answer", ("first",)))


def test_records_have_a_row_a_trial_and_a_column_a_score(opened):
    records = opened.records
    assert len(records) == 48
    assert not records.duplicated(["arm", "repeat", "prompt_id"]).any()
    assert [name for name in records if name.startswith("score_")] == ["score_exact", "score_contains", "score_f1"]
    ok = records[records["status"] == "ok"]
    assert (ok["score_exact"] == ok["prompt_id"].str[2:].astype(int) % 2).all()


def test_a_failed_trial_has_an_error_and_no_answer(opened):
    failed = opened.records[opened.records["status"] == "failed"]
    assert set(failed["prompt_id"]) == {"q-3"}
    assert set(failed["error"]) == {"ValueError: no <answer>"}
    assert failed["answer"].isna().all()


def test_spans_have_a_row_for_every_call_of_an_agent(opened):
    assert len(opened.spans) == 2 * len(opened.records)
    assert set(opened.spans["agent"]) == {"first", "answer"}


def test_a_run_without_scorers_has_records_without_scores(tmp_path):
    made = bench(Dataset(PROMPTS), PIPELINE, arms=["sync"], on="inline", warmup=1, scores=(), out=tmp_path)
    assert not [name for name in made.records if name.startswith("score_")]


def test_measures_are_the_same_from_disk_and_in_the_manifest(run, opened):
    assert opened.measures.keys() == run.measures.keys()
    for arm, measures in opened.measures.items():
        assert {name: measure.value for name, measure in measures.items()} == {
            name: measure["value"] for name, measure in opened.manifest["measures"][arm].items()
        }


def test_arms_are_compared_by_prompt(opened):
    found = opened.compare("sync", "async")
    assert (found.a, found.b, found.pairs) == ("sync", "async", 14)
    assert found.answers_differ_count == 0


def test_an_arm_that_the_run_lacks_is_named_with_those_it_has(opened):
    with pytest.raises(UsageError, match=r"no arm 'asink'; its arms: sync, parallel, async"):
        opened.compare("sync", "asink")


def test_given_objectives_come_before_the_default_ones(opened):
    assert [result.given for result in opened.slos] == [True, False, False, False, False]
    assert opened.slos[0].met is True


def test_prompts_are_found_again_with_their_texts_and_references(opened):
    assert {key: (each.text, each.reference) for key, each in opened.prompts.items()} == {
        prompt.id: (prompt.text, prompt.reference) for prompt in PROMPTS
    }


def test_prompts_of_the_first_few_rows_are_found_again(out, prompt_file, tmp_path):
    few = Dataset.read(prompt_file, fields={"text": "question"}).limit(3)
    made = bench(few, PIPELINE, arms=["sync"], on="inline", warmup=1, out=tmp_path)
    assert list(Run.open(made.path).prompts) == ["q-0", "q-1", "q-2"]


def test_prompts_of_a_file_that_changed_are_not_shown_as_what_was_asked(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("text\nbefore\n")
    made = bench(Dataset.read(path), PIPELINE, arms=["sync"], on="inline", warmup=1, out=tmp_path)
    path.write_text("text\nafter\n")
    assert Run.open(made.path).prompts == {}
    path.unlink()
    assert Run.open(made.path).prompts == {}
    assert Run.open(made.path).report().is_file(), "the report does without them"


def test_the_report_is_written_into_the_runs_folder(opened):
    path = opened.report()
    assert path == opened.path / "report.html"
    page = path.read_text("utf-8")
    assert "echo" in page
    assert "no <answer>" not in page


def test_the_graph_is_a_delayed_graph_with_a_node_an_agent(opened):
    graph = opened.graph()
    names = {str(key) for key in graph.__dask_graph__()}
    assert all(any(agent in name for name in names) for agent in ("first", "answer"))


def test_the_summary_is_strict_json_with_units_and_intervals(opened):
    told = json.loads(json.dumps(summary(opened), allow_nan=False))
    assert told["conservation"] == {"planned": 48, "ok": 42, "degraded": 0, "failed": 6, "not_run": 0}
    assert {(each["a"], each["b"]) for each in told["comparisons"]} == {("sync", "parallel"), ("sync", "async")}
    for measures in told["measures"].values():
        for measure in measures.values():
            assert set(measure) == {"value", "low", "high", "unit", "note"}
        assert measures["mean_latency_s"]["unit"] == "s"


def test_a_run_is_opened_by_path_by_id_and_as_the_last_one(run, out):
    assert Run.open(run.path).path == Run.open(run.path.name, out).path == Run.open("last", out).path == run.path


@pytest.mark.parametrize(("named", "says"), [("nope", "no run 'nope'.*the newest is"), ("prompts.jsonl", "no run")])
def test_a_run_that_is_not_there_is_told_with_the_newest(run, out, named, says):
    with pytest.raises(RunNotFoundError, match=says):
        Run.open(named, out)


def test_the_last_of_no_runs_says_how_to_make_one(tmp_path):
    with pytest.raises(RunNotFoundError, match="make one with: quark-bench run"):
        Run.open("last", tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"run_id": "x"}', "3"])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(QuarkBenchError, match=str(tmp_path)):
        Run(tmp_path)
