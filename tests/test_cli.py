"""The command, as a process: what it prints where, its exit code, and what it leaves behind."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pandas as pd
import psutil
import pytest

from quark_bench.cli import main
from quark_bench.conversations import Conversations
from quark_bench.sources.packed import packed_file

from .forked import run

QUICKSTART = str(packed_file("quickstart.jsonl"))
OWN_CONTEXTS = ["--knowledge", "contexts"]
PUBLIC = {
    "gsm8k.jsonl": [],
    "mt_bench.jsonl": [],
    "pubmedqa.jsonl.gz": OWN_CONTEXTS,
    "strategyqa.jsonl": OWN_CONTEXTS,
}
"""Public prompts that come with quark-bench, each with the options of its command."""
INLINE = ["--on", "inline", "--warmup", "1"]
QUICK = [*INLINE, "--latency", "none", "--limit", "6"]
ECHO = [*INLINE, "--pipeline", "own.py:echo", "--arm", "async"]
OWN = """
import asyncio
from quark_bench import Pipeline, agent

@agent
def words(prompt):
    return prompt.text.split()

@agent
async def answer(prompt, words):
    return " ".join(words)

@agent
def broken(prompt):
    raise ValueError("no [bold]index[/bold] here")

@agent
async def sleeper(prompt):
    await asyncio.sleep(0.2)
    return "rested"

echo = Pipeline("echo", [words, answer], answer="answer")
failing = Pipeline("failing", [broken], answer="broken")
sleeping = Pipeline("sleeping", [sleeper], answer="sleeper")
number = 3
"""


class Told(NamedTuple):
    """What a process left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


def quark_bench(folder, *arguments, timeout_s=60):
    """Run the command in a folder, as from a shell there."""
    done = run("quark-bench", *arguments, folder=folder, timeout_s=timeout_s)
    return Told(done.returncode, done.stdout, done.stderr)


def write_own(folder):
    """A user's folder: a pipeline file and a few prompts."""
    (folder / "own.py").write_text(OWN)
    rows = [{"id": f"q-{n}", "text": f"prompt number {n}", "category": "few"} for n in range(6)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def here(tmp_path):
    write_own(tmp_path)
    return tmp_path


def widest(text):
    return max(map(len, text.splitlines()))


def strict_json(text):
    """Exactly one JSON value and nothing beside it; NaN is none."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def only_run(folder, out="reports"):
    (path,) = (folder / out).iterdir()
    return path


def refused(folder, *arguments, code=2, timeout_s=60):
    """The one-line message of a command that is refused: no traceback, nothing printed, nothing left behind."""
    before = sorted(folder.rglob("*"))
    told = quark_bench(folder, *arguments, timeout_s=timeout_s)
    *stages, message = told.err.splitlines()
    assert told.code == code, told.err
    assert told.out == ""
    assert message.startswith("quark-bench: ")
    assert all(stage.startswith(("starting", "connecting")) for stage in stages), "nothing was run"
    assert sorted(folder.rglob("*")) == before
    return message


# -- run


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """The packed quickstart, run once from a folder that is not the checkout: the folder, and what was told."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return folder, quark_bench(folder, "run", QUICKSTART, *QUICK)


def test_the_first_command_ends_with_a_table_and_the_reports_path(quickstart):
    folder, told = quickstart
    assert told.code == 0, told.err
    assert told.out.startswith("quark over quickstart.jsonl, 6 prompts\n")
    for row in ("latency, median", "throughput", "concurrent agents", "parallel rate", "Target met", "Answers: "):
        assert row in told.out
    report, look = told.out.splitlines()[-2:]
    assert (folder / report.removeprefix("Report").strip()).is_file()
    assert look == f"Look    quark-bench show reports/{only_run(folder).name} [PROMPT_ID]"


def test_no_line_of_the_table_is_wider_than_80_columns(quickstart):
    assert widest(quickstart[1].out) <= 80


def test_progress_goes_to_stderr_and_the_table_to_stdout(quickstart):
    _, told = quickstart
    assert "running 18 trials" in told.err
    assert "running" not in told.out
    assert "latency, median" not in told.err


def test_the_default_targets_never_decide_the_exit_code(quickstart):
    assert "Target missed" in quickstart[1].out
    assert quickstart[1].code == 0


def test_json_is_one_object_on_stdout_and_all_text_on_stderr(here):
    told = quark_bench(
        here, "run", QUICKSTART, "--on", "local", "--workers", 2, "--latency", "none", "--limit", 6, "--json"
    )
    assert told.code == 0, told.err
    data = strict_json(told.out)
    assert data["conservation"] == {"planned": 18, "ok": 18, "degraded": 0, "failed": 0, "not_run": 0}
    assert Path(here / data["report"]).is_file()
    for arm in ("sync", "parallel", "async"):
        median = data["measures"][arm]["p50_latency_s"]
        assert median["unit"] == "s"
        assert 0 < median["low"] <= median["value"] <= median["high"]
        assert all({"value", "low", "high", "unit"} <= set(each) for each in data["measures"][arm].values())
    assert "latency, median" in told.err
    assert "Dask dashboard: http://127.0.0.1:" in told.err
    assert strict_json((only_run(here) / "manifest.json").read_text())["cluster"]["workers"] == 2


@pytest.mark.parametrize("granularity", ["agent", "chunk"])
def test_a_schedulers_address_is_where_the_run_takes_place(here, cluster, granularity):
    arguments = ["run", "prompts.jsonl", *ECHO, "--on", cluster, "--granularity", granularity, "--json"]
    told = quark_bench(here, *arguments)
    assert told.code == 0, told.err
    assert strict_json(told.out)["granularity"]["choice"] == granularity
    assert strict_json((only_run(here) / "manifest.json").read_text())["cluster"]["address"] == cluster
    records = pd.read_parquet(only_run(here) / "records")
    assert sorted(records["answer"]) == [f"prompt number {n}" for n in range(6)]


def test_a_run_learns_only_when_it_is_asked_to_and_says_so_everywhere(here, quickstart):
    told = quark_bench(here, "run", QUICKSTART, *QUICK, "--learn", "kept/memory.db", "--json")
    assert told.code == 0, told.err
    data, manifest = strict_json(told.out), strict_json((only_run(here) / "manifest.json").read_text())
    assert data["learns_in"] == manifest["pipeline"]["learns_in"] == str(here / "kept" / "memory.db")
    assert data["comparable"] is False
    assert told.err.count("learning as it goes") == 1
    assert "do not compare" in " ".join(told.err.split())
    assert "Not comparable across arms and repeats." in Path(here / data["report"]).read_text()
    with closing(Conversations(here / "kept" / "memory.db")) as store:
        assert store.lessons({"mount", "everest", "high", "metr"})
    folder, plain = quickstart
    assert "learn" not in plain.out
    assert strict_json((only_run(folder) / "manifest.json").read_text())["pipeline"]["learns_in"] is None


def test_the_command_is_kept_with_the_run(quickstart):
    folder, _ = quickstart
    manifest = strict_json((only_run(folder) / "manifest.json").read_text())
    assert manifest["command"] == f"quark-bench run {QUICKSTART} {' '.join(QUICK)}"
    assert manifest["state"] == "complete"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_data_set_runs_by_one_command(name, tmp_path):
    arguments = [
        *PUBLIC[name],
        "--shard",
        "2/10",
        "--limit",
        80,
        *INLINE,
        "--latency",
        "none",
        "--arm",
        "async",
        "--json",
    ]
    told = quark_bench(tmp_path, "run", packed_file(f"public/{name}"), *arguments)
    assert told.code == 0, told.err
    assert strict_json(told.out)["conservation"]["ok"] == 8


def test_what_failed_in_the_last_run_is_run_again_and_can_be_continued(here):
    failing = ["run", "prompts.jsonl", *INLINE, "--pipeline", "own.py:failing", "--arm", "async"]
    assert quark_bench(here, *failing).code == 4
    again = ["run", "prompts.jsonl", *ECHO, "--failed-in", "last", "--limit", 2]
    told = quark_bench(here, *again, "--json")
    assert strict_json(told.out)["conservation"]["ok"] == 2
    latest = Path(here / strict_json(told.out)["path"])
    manifest = strict_json((latest / "manifest.json").read_text())
    del manifest["client"]  # as if its process had been killed
    (latest / "manifest.json").write_text(json.dumps(manifest | {"state": "running"}))
    told = quark_bench(here, "run", "--resume", "last", "--json")
    assert told.code == 0, told.err
    assert strict_json(told.out)["path"] == str(latest)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_columns_of_every_format_are_mapped_to_fields(here, ending):
    rows = pd.DataFrame({"key": ["a", "b"], "question": ["one,\ttwo", 'say "x"'], "wanted": ["one, two", "y"]})
    path = here / f"data.{ending}"
    if ending == "parquet":
        rows.to_parquet(path)
    else:
        rows.to_csv(path, sep="," if ending == "csv" else "\t", index=False, quoting=csv.QUOTE_MINIMAL)
    fields = ["--field", "id=key", "--field", "text=question", "--field", "reference=wanted"]
    told = quark_bench(here, "run", path.name, *fields, *ECHO, "--score", "exact", "--json")
    assert told.code == 0, told.err
    assert strict_json(told.out)["measures"]["async"]["score_exact"]["value"] == 0.5
    records = pd.read_parquet(only_run(here) / "records").set_index("prompt_id")
    assert dict(records["answer"]) == {"a": "one, two", "b": 'say "x"'}


# -- exit codes


@pytest.mark.parametrize(
    ("slos", "code"),
    [
        (["p50_latency_s<60s", "async.failed_share<=0%"], 0),
        (["p50_latency_s<60s", "async.throughput_per_s>1e12"], 1),
    ],
)
def test_given_objectives_decide_the_exit_code(here, slos, code):
    given = [part for slo in slos for part in ("--slo", slo)]
    told = quark_bench(here, "run", "prompts.jsonl", *ECHO, *given)
    assert told.code == code, told.err
    assert f"SLO {'missed' if code else 'met'}  {slos[-1]}" in told.out


def test_a_run_whose_every_trial_failed_says_why_and_is_exit_4(here):
    told = quark_bench(here, "run", "prompts.jsonl", *INLINE, "--pipeline", "own.py:failing", "--json")
    assert told.code == 4
    assert "Every trial failed; the first error: ValueError: no [bold]index[/bold] here" in told.err
    assert "Traceback" not in told.err
    data = strict_json(told.out)
    assert (data["state"], data["conservation"]["failed"]) == ("complete", 18)
    assert (only_run(here) / "report.html").is_file()


REFUSED = {
    "--slo p95_latencys<2": "no measure 'p95_latencys'; did you mean 'p95_latency_s'?",
    "--slo asink.p95_latency_s<2": "no arm 'asink' here; did you mean 'async'?",
    "--slo p95_latency_s": "write --slo 'p95_latency_s<2'",
    "--arm asink": "unknown arm 'asink'; built in: sync, parallel, async",
    "--granularity chunks": "--granularity 'chunks': give auto, agent or chunk",
    "--pipeline nowhere.py:echo": "there is no file nowhere.py",
    "--pipeline own.py:ecco": "own.py has no 'ecco'; pipelines in it: echo, failing, sleeping",
    "--pipeline own.py:number": "'number'; pipelines in it: echo, failing, sleeping",
    "--pipeline own": "write FILE.py:NAME or package.module:NAME (or quark)",
    "--pipeline no.such.module:echo": "no module 'no.such.module'",
    "--pipeline quark --model gpt": "unknown model 'gpt'; there are: offline, openai:NAME",
    "--pipeline quark --model openai:m --latency demo": "openai:m takes a time of its own; leave --latency out",
    "--pipeline quark --latency demmo": "unknown latency profile 'demmo'; known: none, demo, quark",
    "--pipeline quark --knowledge nowhere.jsonl": "nowhere.jsonl: cannot be opened",
    "--latency demo": "--latency is for the built-in pipeline; leave it out with --pipeline own.py:echo",
    "--knowledge prompts.jsonl": "--knowledge is for the built-in pipeline",
    "--learn own.db": "--learn is for the built-in pipeline; leave it out with --pipeline own.py:echo",
    "--pipeline quark --learn prompts.jsonl": "prompts.jsonl: no store of conversations, or a damaged one",
    "--model gpt": "unknown model 'gpt'; there are: offline, openai:NAME",
    "--score exactt": "no such scorer; did you mean 'exact'?",
    "--workers 0": "--workers 0: give 1 or more",
    "--in-flight 0": "in flight 0; give 1 or more",
    "--repeats 0": "--repeats 0: give 1 or more",
    "--warmup -1": "--warmup -1: give 0 or more",
    "--limit 0": "--limit 0 leaves no prompts; give a number of 1 or more",
    "--field text": "write FIELD=COLUMN, for example --field text=question",
    "--field text=": "write FIELD=COLUMN, for example --field text=question",
    "--field texts=text": "'texts' is no field of a prompt",
    "--field text=question": "prompts.jsonl, row 1: no field 'question'",
    "--category none": "no prompt is of category 'none'; categories here: few",
    "--on nowhere": "give local, inline, or a scheduler's address",
}


UNREACHABLE = "--on tcp://127.0.0.1:1"


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """The messages to come of all refused options, each in a folder of its own: side by side, for most of the time
    of each goes into imports, or into waiting for a scheduler."""

    def message(options):
        folder = tmp_path_factory.mktemp("refused")
        write_own(folder)
        arguments = ["run", "prompts.jsonl", *INLINE, "--pipeline", "own.py:echo", *options.split(" ")]
        return refused(folder, *arguments, code=4 if options == UNREACHABLE else 2, timeout_s=30)

    with ThreadPoolExecutor(3) as pool:
        yield {options: pool.submit(message, options) for options in (UNREACHABLE, *REFUSED)}


@pytest.mark.parametrize("options", REFUSED)
def test_a_wrong_option_is_exit_2_with_one_line_that_says_what_to_do(refusals, options):
    assert REFUSED[options] in refusals[options].result()


def test_a_scheduler_that_does_not_answer_is_exit_4_within_half_a_minute(refusals):
    message = refusals[UNREACHABLE].result()
    assert "no Dask scheduler answers" in message
    assert "check the address, or use --on local" in message


@pytest.mark.parametrize("arguments", [["run", "x.jsonl", "--bogus"], ["nosuch"], ["run", "x", "--seed", "s"]])
def test_a_line_that_cannot_be_parsed_is_exit_2_with_the_way_to_help(tmp_path, arguments):
    told = quark_bench(tmp_path, *arguments)
    assert told.code == 2
    assert "-h' for help" in told.err
    assert "Traceback" not in told.err


# -- bad input

BAD_FILES = {
    "malformed.jsonl": (b'{"id": "a", "text": "x"}\n{"id": "b", text}\n', "row 2, column 13: not JSON"),
    "missing.jsonl": (b'{"id": "a", "text": "x"}\n{"id": "b"}\n', "row 2: no field 'text'"),
    "twice.jsonl": (b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "row 2: id 'a' was already used in row 1"),
    "list.jsonl": (b"[1]\n", "row 1: a JSON list, not an object"),
    "empty.jsonl": (b"", "no prompts; give a file with at least one row"),
    "header.csv": (b"id,text\n", "no prompts; give a file with at least one row"),
    "latin.jsonl": (b'{"text": "x"}\n{"text": "caf\xe9"}\n', "row 2: byte 14 of the line (0xe9) is not UTF-8"),
    "latin.csv": (b"text\ncaf\xe9\n", "row 2: byte 4 of the line (0xe9) is not UTF-8"),
    "long.csv": (b"id,text\na,x,1\n", "row 2: 3 cells, but the header names 2"),
    "none.parquet": (b"nothing", "cannot be read as Parquet"),
    "prompts.txt": (b"x", "the ending '.txt' tells no format; save the prompts as one of .jsonl"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_prompt_file_is_exit_2_with_file_and_row(here, name):
    data, says = BAD_FILES[name]
    (here / name).write_bytes(data)
    message = refused(here, "run", name, *ECHO)
    assert message.startswith(f"quark-bench: {name}")
    assert says in message


def test_a_missing_prompt_file_is_exit_2_with_the_nearest(here):
    assert "promts.jsonl: no such file; did you mean prompts.jsonl?" in refused(here, "run", "promts.jsonl", *ECHO)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\nraise RuntimeError('no index')\n", "line 2: RuntimeError: no index"),
        ("x = (\n", "line 1: SyntaxError"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
    ],
)
def test_a_pipeline_file_that_raises_is_exit_2_with_file_and_line(here, source, says):
    (here / "raises.py").write_text(source)
    message = refused(here, "run", "prompts.jsonl", "--pipeline", "raises.py:echo")
    assert f"raises.py, {says}" in message


# -- interrupted


def children_of(process):
    """Every process below it, found while it runs."""
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_records(folder, process):
    """Until a first part of the run is on disk, as a person waits who then loses patience."""
    while not list(folder.glob("reports/*/records/part-*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("on", "send"), [("inline", os.kill), ("local", os.kill), ("local", os.killpg)], ids=["inline", "local", "terminal"]
)
def test_an_interrupted_run_keeps_what_it_has_and_leaves_no_process(here, on, send):
    rows = "".join(json.dumps({"text": f"prompt {n}"}) + "\n" for n in range(200))
    (here / "many.jsonl").write_text(rows)
    arguments = ["run", "many.jsonl", "--pipeline", "own.py:sleeping", "--on", on, "--workers", "2", "--warmup", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "quark_bench", *arguments],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_records(here, process)
    workers = children_of(process)
    send(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out.strip() == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("quark-bench: interrupted; ")
    manifest = strict_json((only_run(here) / "manifest.json").read_text())
    records = pd.read_parquet(only_run(here) / "records")
    ended = manifest["conservation"]
    assert manifest["state"] == "interrupted"
    assert 0 < len(records) == ended["ok"] == 600 - ended["not_run"]
    assert set(records["answer"]) == {"rested"}
    assert not still_running(workers)
    assert bool(workers) == (on == "local")
    assert_can_be_looked_at(here)
    assert err.splitlines()[-1].endswith(f"quark-bench run --resume reports/{only_run(here).name}")


def still_running(processes):
    """Those that live on; one that only waits to be reaped is dead."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def assert_can_be_looked_at(folder):
    told = quark_bench(folder, "show", "last")
    assert told.code == 0, told.err
    assert "interrupted" in told.out
    assert widest(told.out) <= 80


# -- looking


def test_ls_has_a_line_for_every_run(quickstart):
    folder, _ = quickstart
    told = quark_bench(folder, "ls")
    assert told.code == 0
    assert "-quickstart " in told.out
    assert "18 of 18" in told.out
    assert widest(told.out) <= 80


def test_ls_gives_the_manifests_as_json(quickstart):
    folder, _ = quickstart
    (manifest,) = strict_json(quark_bench(folder, "ls", "--json").out)
    assert manifest["run_id"] == only_run(folder).name


def test_an_option_beside_resume_is_refused_instead_of_ignored(tmp_path):
    assert "--repeats beside --resume" in refused(tmp_path, "run", "--resume", "last", "--repeats", "2")


def test_a_fault_of_ours_has_the_exit_code_of_a_run_that_could_not_finish(monkeypatch, capsys):
    monkeypatch.setattr("quark_bench.cli.app.call", lambda arguments: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    assert "please report" in capsys.readouterr().err


def test_ls_of_no_runs_says_how_to_make_one(tmp_path):
    assert quark_bench(tmp_path, "ls").out == "There are no runs in reports; make one with: quark-bench run PROMPTS\n"
    assert strict_json(quark_bench(tmp_path, "ls", "--json").out) == []


def test_show_tells_a_run_by_id_by_path_and_as_the_last_one(quickstart):
    folder, _ = quickstart
    name = only_run(folder).name
    last = quark_bench(folder, "show", "last")
    assert last.code == 0
    assert f"{name}, complete" in last.out
    assert "latency, median" in last.out
    assert widest(last.out) <= 80
    assert last == quark_bench(folder, "show", name) == quark_bench(folder, "show", f"reports/{name}")


def test_show_of_a_prompt_has_its_text_its_reference_and_every_arm(quickstart):
    folder, _ = quickstart
    told = quark_bench(folder, "show", "last", "q-003")
    assert told.code == 0
    for part in ("How high is Mount Everest in metres?", "8849", "sync", "parallel", "async", "reasoning"):
        assert part in told.out
    assert widest(told.out) <= 80


def test_show_of_a_prompt_as_json_has_its_records_and_spans(quickstart):
    folder, _ = quickstart
    data = strict_json(quark_bench(folder, "show", "last", "q-003", "--json").out)
    assert {record["arm"] for record in data["records"]} == {"sync", "parallel", "async"}
    assert len(data["spans"]) == 3 * 7


def test_show_of_an_unknown_prompt_names_the_nearest(quickstart):
    folder, _ = quickstart
    assert "no record of prompt 'q-03'; did you mean 'q-003'?" in refused(folder, "show", "last", "q-03")


def test_show_of_an_unknown_run_names_the_newest(quickstart):
    folder, _ = quickstart
    assert "no run 'nope', neither a folder with a manifest.json nor an id in reports; the newest is " in refused(
        folder, "show", "nope"
    )


def test_report_writes_the_page_again(quickstart):
    folder, _ = quickstart
    page = only_run(folder) / "report.html"
    page.unlink()
    told = quark_bench(folder, "report", "last")
    assert told.code == 0
    assert (folder / told.out.strip()).samefile(page)
    assert "<svg" in page.read_text("utf-8")


def test_graph_is_drawn_as_text(here):
    told = quark_bench(here, "graph")
    assert told.code == 0
    assert "reasoning         ← nlu, memory, retrieval" in told.out


def test_graph_is_drawn_as_svg(here):
    told = quark_bench(here, "graph", "--pipeline", "own.py:echo", "--out", "dag.svg")
    assert (told.code, told.out) == (0, "dag.svg\n")
    drawing = ElementTree.parse(here / "dag.svg").getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"words", "answer"} <= {text.strip() for text in drawing.itertext()}


def test_a_drawing_that_cannot_be_written_is_exit_2(here):
    assert "--out nowhere/dag.svg: cannot be written" in refused(here, "graph", "--out", "nowhere/dag.svg")


# -- settings


def settings(folder, *lines):
    (folder / "pyproject.toml").write_text("\n".join(["[tool.quark-bench]", *lines]) + "\n")


def test_options_of_a_pyproject_are_used_and_the_command_line_wins(here):
    settings(
        here,
        'pipeline = "own.py:echo"',
        'on = "inline"',
        'arm = ["async"]',
        "in-flight = 3",
        "limit = 4",
        "warmup = 1",
        'out = "runs"',
    )
    told = quark_bench(here, "run", "prompts.jsonl", "--limit", "2", "--json")
    assert told.code == 0, told.err
    assert strict_json(told.out)["conservation"]["planned"] == 2
    manifest = strict_json((only_run(here, "runs") / "manifest.json").read_text())
    assert [(arm["name"], arm["in_flight"]) for arm in manifest["arms"]] == [("async", 3)]
    drawn = quark_bench(here, "graph")
    assert "← words" in drawn.out, "out is where runs are, not a drawing"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.quark-bench]\nreapeats = 3\n", "no option 'reapeats'; did you mean 'repeats'?"),
        ("[tool.quark-bench\n", "pyproject.toml: cannot be read"),
        ('[tool]\nquark-bench = "x"\n', "tool.quark-bench is no table"),
    ],
)
def test_settings_that_cannot_be_meant_are_exit_2(here, text, says):
    (here / "pyproject.toml").write_text(text)
    assert says in refused(here, "ls")


def test_a_pyproject_without_settings_changes_nothing(here):
    (here / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert quark_bench(here, "ls").code == 0


# -- help


@pytest.mark.parametrize("command", ["", "run", "graph", "ls", "show", "report", "compare", "index", "history", "init"])
def test_help_fits_80_columns_and_shows_an_example(tmp_path, command):
    told = quark_bench(tmp_path, *command.split(), "--help")
    assert (told.code, told.err) == (0, "")
    assert widest(told.out) <= 80
    assert "Usage: quark-bench" in told.out


def test_help_tells_the_exit_codes(tmp_path):
    told = " ".join(quark_bench(tmp_path, "--help").out.split())
    for each in ("0 fine", "1 a gate found", "2 wrong usage", "3 a gate", "4 the run could", "130 interr"):
        assert each in told


def test_the_version_is_told(tmp_path):
    assert quark_bench(tmp_path, "--version").out.startswith("quark-bench ")


def test_a_run_of_nothing_says_what_to_name(here):
    assert "name a prompt file" in refused(here, "run")
