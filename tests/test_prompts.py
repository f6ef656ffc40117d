"""Prompts: the options beside a prompt file, and what of the file they leave."""

import json
import shlex

import pytest

from quark_bench import Dataset, Pipeline, Prompt, agent, bench
from quark_bench.cli.prompts import Columns, Part, read_prompts, settled
from quark_bench.errors import RunNotFoundError, UsageError

DATA = Dataset(
    [Prompt(f"q-{n}", f"text {n}", "odd" if n % 2 else "even", ("text 1" if n < 4 else f"text {n}",)) for n in range(8)]
)


@agent
def answer(prompt):
    if prompt.id == "q-6":
        raise ValueError("no answer")
    return prompt.text


ECHO = Pipeline("echo", [answer], answer="answer")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One trial failed (q-6), and q-0, q-2, q-3 were answered wrongly."""
    out = tmp_path_factory.mktemp("runs: all")
    return bench(DATA, ECHO, arms=["sync"], on="inline", warmup=1, out=out)


def ids(dataset):
    return [prompt.id for prompt in dataset]


def part(run, **asked):
    return Part(**asked).of(DATA, run.path.parent)


def test_what_failed_in_a_run_and_what_a_scorer_found_wrong_is_asked_again(run) -> None:
    assert run.failed() == ("q-6",)
    assert ids(DATA.only(run.failed("exact"))) == ["q-0", "q-2", "q-3", "q-6"]
    for named in ("last", run.path.name, str(run.path)):
        assert ids(part(run, failed_in=named)) == ["q-6"]
        assert ids(part(run, failed_in=f"{named}:exact")) == ["q-0", "q-2", "q-3", "q-6"]


def test_a_part_is_first_of_a_category_then_the_first_few_and_at_last_a_shard_of_them(run) -> None:
    assert ids(part(run, category="even", failed_in="last:exact", limit=2)) == ["q-0", "q-2"]
    shards = [ids(part(run, category="even", limit=3, shard=f"{n}/2")) for n in (1, 2)]
    assert shards == [["q-0", "q-4"], ["q-2"]]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"shard": "2"}, r"--shard '2': write PART/PARTS, as in --shard 2/8"),
        ({"shard": "0/2"}, r"--shard 0/2: there are shards 1/2 to 2/2; name one"),
        ({"shard": "9/9"}, r"--shard 9/9 of 8 prompts is empty; make 8 shards at most"),
        ({"failed_in": "last:judge"}, r"was not scored by 'judge'; its scorers: exact, contains, f1"),
        ({"failed_in": "last:exact", "category": "none"}, r"no prompt is of category 'none'"),
    ],
)
def test_a_part_that_is_empty_or_unknown_is_refused(run, asked, message) -> None:
    with pytest.raises(UsageError, match=message):
        part(run, **asked)


def test_a_run_that_is_unknown_or_in_which_nothing_of_the_file_failed_is_refused(run, tmp_path) -> None:
    with pytest.raises(RunNotFoundError, match=r"no run 'none'"):
        part(run, failed_in="none:exact")
    fine = bench(DATA.limit(2), ECHO, arms=["sync"], on="inline", warmup=1, scores=(), out=tmp_path)
    with pytest.raises(UsageError, match=r"--failed-in last: no prompt failed in .*; there is nothing to run again"):
        Part(failed_in="last").of(DATA, tmp_path)
    with pytest.raises(UsageError, match=r"dataset: none of its prompts has one of the 1 ids"):
        Part(failed_in=str(run.path)).of(DATA.limit(2), fine.path.parent)


def test_a_command_is_kept_with_the_run_that_last_was(run) -> None:
    now = str(run.path.resolve())
    assert settled("quark-bench run p.jsonl", None, run.path.parent) == "quark-bench run p.jsonl"
    for written in (["--failed-in", "last:exact"], ["--failed-in=last:exact"]):
        kept = shlex.split(settled(shlex.join(["run", "last", *written]), "last:exact", run.path.parent))
        assert kept[:2] == ["run", "last"]
        assert "=".join(kept[2:]) == f"--failed-in={now}:exact"


def test_options_tell_columns_and_a_template(tmp_path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"q": "Why?", "c": "A kite.", "a": "so"}), "utf-8")
    found = read_prompts(tmp_path / "p.jsonl", Columns(["reference=a"], None, "{c} {q}"))
    assert (found[0].text, found[0].reference) == ("A kite. Why?", ("so",))
    with pytest.raises(UsageError, match="--template beside --field text="):
        Columns(["text=q"], None, "{c}").fields()
    with pytest.raises(UsageError, match="--field 'text': write FIELD=COLUMN"):
        Columns(["text"], None, None).fields()
