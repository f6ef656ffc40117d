"""`quark-bench compare`: two arms of one run or of two, told in the terminal, on a page and as JSON."""

import json
import shutil
from html.parser import HTMLParser
from time import sleep

import pytest

from quark_bench import Dataset, Pipeline, Prompt, agent, bench
from quark_bench.cli.app import call
from quark_bench.errors import RunNotFoundError, UsageError

from .browsers import browser, faults, page_of

FAST = {"on": "inline", "warmup": 1, "repeats": 3, "scores": ["exact"]}
MARKUP = "<script>alert(1)</script>"


def assistant(look_s=0.002, says="yes"):
    @agent
    def look(prompt):
        sleep(look_s)
        return prompt.text

    @agent
    async def answer(prompt, look):
        return says if prompt.id == "p3" else look

    return Pipeline("support", [look, answer], answer="answer")


def prompts(count=12, **texts):
    made = [Prompt(f"p{n}", texts.get(f"p{n}", f"prompt {n}"), reference=(f"prompt {n}",)) for n in range(count)]
    return Dataset(made, "few")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with a run of two arms, and a later one that is slower, of other prompts, and answers one otherwise."""
    out = tmp_path_factory.mktemp("kept") / "reports"
    first = bench(prompts(), assistant(), arms=["sync", "async"], **FAST, out=out)
    slower = assistant(look_s=0.02, says="no")
    second = bench(prompts()[2:], slower, arms=["async"], **FAST | {"repeats": 2}, out=out)
    return out, first, second


@pytest.fixture
def told(kept, capsys):
    def tell(*arguments):
        assert call(["compare", *map(str, arguments), "--out", str(kept[0])]) == 0
        return capsys.readouterr()

    return tell


def test_two_arms_of_a_run_are_paired_as_the_run_itself_pairs_them(kept, told):
    run = kept[1]
    data = json.loads(told(f"{run.path}:sync", f"{run.path}:async", "--json").out)
    latency = next(each for each in data["changes"] if each["measure"] == "latency")
    own = run.compare("sync", "async")
    assert 1 / latency["worse"] == pytest.approx(own.latency.value)
    assert (1 / latency["high"], 1 / latency["low"]) == pytest.approx((own.latency.low, own.latency.high))
    assert latency["mde"] == pytest.approx(own.mde)
    assert (latency["n"], latency["pairs"]) == (12, 36)
    assert data["one_run"]
    assert data["answers_differ"] == data["notes"] == data["environment"] == []
    assert {each["measure"] for each in data["agents"]} == {"look", "answer"}


def test_of_one_run_the_first_arm_and_the_last_are_compared_unless_others_are_named(kept, told):
    run = kept[1]
    assert told(run.path, run.path).out == told(f"{run.path.name}:sync", f"{run.path.name}:async").out


def test_the_table_fits_80_columns_and_is_no_verdict(kept, told):
    out = told(kept[1].path, kept[1].path).out
    assert max(map(len, out.splitlines())) <= 80
    assert "async against sync: latency " in out
    assert "no answer differs" in out


def test_between_two_runs_it_is_a_trend_and_says_what_it_is_worth(kept, told):
    _, first, second = kept
    out = " ".join(told(first.path, second.path).out.split())
    assert "(a trend, no verdict)" in out
    assert "8 to 35 % different; for a verdict measure both in one job" in out
    assert "3 and 2 repeats: the first 2 repeats of each are compared" in out
    assert "no bounds for throughput: its blocks were not measured side by side" in out


def test_between_two_runs_the_slower_agent_and_the_changed_answers_are_named(kept, told):
    data = json.loads(told(f"{kept[1].path.name}:async", "last", "--json").out)
    agents = {each["measure"]: each["worse"] for each in data["agents"]}
    assert agents["look"] > 2
    assert data["answers_differ"] == ["p3"]
    score = next(each for each in data["changes"] if each["measure"] == "exact")
    assert score["a"] == score["b"] == pytest.approx(9 / 10)
    assert data["a"]["arm"] == data["b"]["arm"] == "async"


def test_prompts_that_lost_a_score_are_named_to_be_looked_at(kept, told, tmp_path):
    better = bench(prompts(), assistant(says="prompt 3"), arms=["async"], **FAST, out=tmp_path)
    out = " ".join(told(better.path, kept[1].path).out.split())
    assert "exact turned worse the most for p3" in out
    assert "exact turned worse" not in told(kept[1].path, better.path).out


def test_prompts_that_vanished_are_told_and_left_out(kept, told):
    _, first, second = kept
    data = json.loads(told(first.path, second.path, "--json").out)
    assert data["prompts"] == {"compared": 10, "vanished": ["p0", "p1"], "new": [], "changed": []}
    back = json.loads(told(second.path, first.path, "--json").out)
    assert back["prompts"]["new"] == ["p0", "p1"]


def test_prompts_whose_text_changed_are_left_out_where_both_files_are_at_hand(tmp_path, capsys):
    for name, texts in (("before", {}), ("after", {"p1": "another text"})):
        lines = [json.dumps({"id": each.id, "text": each.text}) for each in prompts(6, **texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        data = Dataset.read(tmp_path / f"{name}.jsonl")
        bench(data, assistant(), arms=["async"], **FAST | {"repeats": 1, "scores": []}, out=tmp_path / name)
    before, after = (next((tmp_path / name).iterdir()) for name in ("before", "after"))
    assert call(["compare", str(before), str(after), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["prompts"]["compared"], data["prompts"]["changed"]) == (5, ["p1"])
    assert "the data set changed: only prompts that are the same in both are compared" in data["notes"]
    (tmp_path / "before.jsonl").unlink()
    assert call(["compare", str(before), str(after), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["prompts"]["changed"] == []
    assert any("their texts may differ" in note for note in data["notes"])


def edited(run, tmp_path, change):
    """A copy of the run whose manifest is changed."""
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest["pipeline"].update(latency_profile="demo"), "the simulated latency changed"),
        (lambda manifest: manifest.update(chaos="look: error=0.1"), "the chaos changed"),
        (lambda manifest: manifest.update(cache={"file": "outputs.sqlite"}), "it answered from a cache"),
        (lambda manifest: manifest["pipeline"].update(learns_in="memory.db"), "it learned as it went"),
    ],
)
def test_runs_whose_latencies_mean_other_things_are_refused(change, says, kept, tmp_path):
    with pytest.raises(UsageError, match=f"not comparable: .*{says}"):
        call(["compare", str(kept[1].path), str(edited(kept[1], tmp_path, change))])


def test_runs_without_a_prompt_in_common_are_refused(kept, tmp_path):
    other = bench(Dataset.of(["a", "b"], "others"), assistant(), arms=["async"], **FAST, out=tmp_path)
    with pytest.raises(UsageError, match="no prompt in common"):
        call(["compare", str(kept[1].path), str(other.path)])


def test_another_model_and_other_scorers_are_told_and_what_both_have_is_compared(kept, told, tmp_path):
    def change(manifest):
        manifest["pipeline"]["model"] = "other"
        manifest["scorers"] = ["f1"]
        manifest["state"] = "interrupted"

    data = json.loads(told(kept[1].path, edited(kept[1], tmp_path, change), "--json").out)
    notes = " ".join(data["notes"])
    assert "the model changed: none, then other" in notes
    assert "the scorers changed: only scores that both have, of equal options, are compared" in notes
    assert "is interrupted: only the trials that are there are compared" in notes
    assert [each["measure"] for each in data["changes"]] == ["latency", "throughput", "failures"]


def test_what_cannot_be_meant_is_refused_with_the_nearest_name(kept):
    run = kept[1].path
    with pytest.raises(UsageError, match="against itself"):
        call(["compare", f"{run}:sync", f"{run}:sync"])
    with pytest.raises(UsageError, match="did you mean 'sync'"):
        call(["compare", f"{run}:snc", str(run)])
    with pytest.raises(RunNotFoundError, match="no run 'nowhere'"):
        call(["compare", "nowhere:sync", str(run)])


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)


def test_the_page_is_one_file_without_script_and_text_from_runs_stays_text(kept, told, tmp_path):
    def change(manifest):
        manifest["dataset"]["name"] = manifest["pipeline"]["name"] = MARKUP
        manifest["provenance"]["host"] = manifest["started"] = MARKUP
        manifest["arms"][-1]["name"] = "async"

    hostile = edited(kept[1], tmp_path, change)
    out = told(kept[1].path, hostile, "--html", tmp_path / "page.html").out
    assert "Page    " in out
    page = (tmp_path / "page.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert not tags.seen & {"script", "link", "img", "iframe"}
    assert "&lt;script&gt;alert(1)" in page
    assert "A trend, no verdict." in page
    assert "What else differed" in page
    with browser() as opened:
        for scheme in ("light", "dark"):
            size = {"width": 390, "height": 900}
            with page_of(opened, tmp_path / "page.html", viewport=size, color_scheme=scheme) as shown:
                assert shown.evaluate("document.documentElement.scrollWidth") <= 390
                assert faults(shown) == []


def test_a_page_that_cannot_be_written_is_exit_2(kept):
    with pytest.raises(UsageError, match="cannot be written"):
        call(["compare", str(kept[1].path), str(kept[1].path), "--html", "/nowhere/page.html"])
