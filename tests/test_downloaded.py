"""A downloaded run is data: looking at it runs nothing, reads nothing else, and writes nowhere else."""

import contextlib
import copy
import itertools
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import quark_bench
from quark_bench import Dataset, Pipeline, Run, agent, bench
from quark_bench import run as run_module
from quark_bench.cli.app import call
from quark_bench.cli.look import ls
from quark_bench.errors import DataError, RunNotFoundError, UsageError
from quark_bench.sources import read_bounded

from .test_cli import quark_bench as command

PACKAGE = Path(quark_bench.__file__).parent
UNSAFE = re.compile(
    r"^\s*(?:import|from) (?:pickle|cloudpickle|dill|joblib|marshal|shelve|toml|tomli)\b|\b(?:eval|exec)\("
    r"|yaml\.(?:\w*load|\w*Loader\b(?<!SafeLoader))",
    re.MULTILINE,
)


@agent
def first(prompt):
    return prompt.text


@agent
async def answer(prompt, first):
    if prompt.id == "q-1":
        raise ValueError("none")
    return first


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run over a prompt file, as its author had it."""
    folder = tmp_path_factory.mktemp("made")
    rows = [{"id": f"q-{n}", "text": f"text {n}", "reference": f"text {n}"} for n in range(6)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    dataset = Dataset.read(folder / "prompts.jsonl")
    pipeline = Pipeline("echo", [first, answer], answer="answer")
    options = {"on": "inline", "warmup": 1, "slos": ["failed_share<90%"], "chaos": "first: delay=1ms"}
    return bench(dataset, pipeline, out=folder / "reports", **options).path


@pytest.fixture
def run_path(made, tmp_path):
    """A copy of it, in somebody else's folder `reports`."""
    return Path(shutil.copytree(made, tmp_path / "reports" / made.name))


def rewrite(run_path, change):
    """Let `change` alter the manifest, which nothing checks on its way to the disk."""
    file = run_path / "manifest.json"
    manifest = json.loads(file.read_text("utf-8"))
    change(manifest)
    file.write_text(json.dumps(manifest), "utf-8")


def look(run_path):
    """Everything that looks at a run: `ls`, `show`, one prompt, the report, what-if, a notebook."""
    out = ["--out", str(run_path.parent)]
    for arguments in (["ls"], ["ls", "--json"], ["show", run_path.name], ["show", run_path.name, "--json"]):
        call([*arguments, *out])
    call(["show", run_path.name, "q-2", *out])
    call(["report", run_path.name, *out])
    call(["whatif", run_path.name, *out])
    call(["whatif", run_path.name, "--workers", "1", "--in-flight", "2", *out])
    Run(run_path)._repr_html_()


def test_a_run_from_elsewhere_is_looked_at_like_ones_own(run_path, capfd):
    look(run_path)
    assert "text 2" in capfd.readouterr().out
    assert (run_path / "report.html").is_file()


# -- nothing is run


class Trap:
    """What a pickle does to whoever loads it."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


@pytest.mark.parametrize(
    "place", ["manifest.json", "records/part-000000.parquet", "spans/part-000000.parquet", "scores/part-000001.parquet"]
)
def test_a_planted_pickle_is_never_loaded(run_path, tmp_path, place):
    mark = tmp_path / "executed"
    (run_path / place).write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(RunNotFoundError, match="cannot be read"):
        call(["report", str(run_path)])
    call(["ls", "--out", str(run_path.parent)])
    assert not mark.exists()
    pickle.loads((run_path / place).read_bytes())
    assert mark.exists(), "the trap would have worked"


def test_columns_that_hold_pickles_stay_text(run_path, tmp_path):
    mark = tmp_path / "executed"
    part = run_path / "records" / "part-000000.parquet"
    table = pq.read_table(part)
    trap = pa.array([pickle.dumps(Trap(mark), 0).decode("latin-1")] * len(table))
    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Trap(mark)),
    }
    field = pa.field("answer", pa.string(), metadata=extension)
    pq.write_table(table.set_column(table.schema.get_field_index("answer"), field, trap), part)
    look(run_path)
    assert not mark.exists()


def test_only_what_carries_code_to_workers_can_load_code():
    """Keeping, weighing, telling and the doors name nothing that turns bytes or text into code; TOML is tomllib's."""
    carriers = {"execute", "tree_pipeline.py", "user_code.py"}
    found = {
        file.relative_to(PACKAGE).parts[0] for file in PACKAGE.rglob("*.py") if UNSAFE.search(file.read_text("utf-8"))
    }
    assert found == carriers


def test_looking_at_a_run_loads_no_user_code_and_reaches_no_network(run_path, tmp_path):
    """In a process of its own, whose every import, file and connection is watched."""
    code = f"""
import sys
seen = []
def watch(event, arguments):
    if event in ("exec", "socket.connect", "subprocess.Popen", "os.system") or event == "open":
        seen.append((event, str(arguments[0]), arguments[1] if event == "open" else None))
sys.path.insert(0, {str(PACKAGE.parent)!r})
from quark_bench import Run
import quark_bench.report.html, quark_bench.notebook, matplotlib.font_manager
Run({str(made_twice(run_path))!r}).report()  # caches of fonts and the like are written now
sys.addaudithook(watch)
run = Run({str(run_path)!r})
run.report(), run._repr_html_(), run.prompts
for event, what, mode in seen:
    print(event, mode, what, sep="\\t")
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    events = [line.split("\t") for line in told.stdout.splitlines()]
    assert not {"socket.connect", "subprocess.Popen", "os.system"} & {event for event, *_ in events}
    written = [what for event, mode, what in events if event == "open" and mode in ("w", "x", "a", "wb", "r+")]
    assert written
    assert all(Path(what).parent == run_path for what in written)


def made_twice(run_path):
    return shutil.copytree(run_path, run_path.with_name("twin"))


# -- nothing else is read or written


@pytest.mark.parametrize("place", ["manifest.json", "records/part-000000.parquet", "spans/part-000000.parquet"])
def test_a_link_to_another_file_is_not_followed(run_path, tmp_path, place):
    elsewhere = tmp_path / "elsewhere"
    (run_path / place).rename(elsewhere)
    (run_path / place).symlink_to(elsewhere)
    with pytest.raises(RunNotFoundError, match="no ordinary file"):
        Run(run_path).report()


@pytest.mark.parametrize("kind", ["records", "spans", "scores"])
def test_a_link_to_another_folder_is_not_followed(run_path, tmp_path, kind):
    shutil.move(run_path / kind, tmp_path / "elsewhere")
    (run_path / kind).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunNotFoundError, match="is a link"):
        Run(run_path)


def test_a_pipe_in_a_run_is_not_waited_for(run_path):
    for place in ("records/part-000001.parquet", "manifest.json"):
        file = run_path / place
        file.unlink(missing_ok=True)
        os.mkfifo(file)
        with pytest.raises(RunNotFoundError, match="no ordinary file"):
            _ = Run(run_path).records


def test_a_manifest_of_no_end_is_not_read(run_path):
    with (run_path / "manifest.json").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(RunNotFoundError, match="no run needs more"):
        Run(run_path)


def test_a_report_replaces_a_link_and_never_its_target(run_path, tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    (run_path / "report.html").symlink_to(target)
    (run_path / f".report.html.{os.getpid()}").symlink_to(target)
    Run(run_path).report()
    assert target.read_text() == "precious"
    assert not (run_path / "report.html").is_symlink()


def test_prompts_are_shown_from_the_named_data_set_only_while_it_is_the_same(run_path, made):
    assert len(Run(run_path).prompts) == 6
    rewrite(run_path, lambda manifest: manifest["dataset"].update(hash="0" * 64))
    assert Run(run_path).prompts == {}


def pipe(folder):
    os.mkfifo(folder / "prompts.jsonl")
    return folder / "prompts.jsonl"


def device(folder):
    (folder / "prompts.jsonl").symlink_to("/dev/zero")
    return folder / "prompts.jsonl"


def huge(folder):
    with (folder / "prompts.jsonl").open("wb") as file:
        file.truncate(2**40)
    return folder / "prompts.jsonl"


def bomb(folder):
    table = pa.table({"id": [str(n) for n in range(300)], "text": [f"{n}" + "x" * 1_000_000 for n in range(300)]})
    pq.write_table(table, folder / "prompts.parquet", compression="zstd", use_dictionary=False)
    assert (folder / "prompts.parquet").stat().st_size < 10_000_000
    return folder / "prompts.parquet"


def nothing(folder):
    return "x" * 100_000


def no_path(folder):
    return "prompts\0.jsonl"


@pytest.mark.parametrize("place", [pipe, device, huge, bomb, nothing, no_path])
def test_a_manifest_that_names_a_trap_as_its_data_set_shows_no_prompts(run_path, tmp_path, place):
    path = str(place(tmp_path))
    rewrite(run_path, lambda manifest: manifest["dataset"].update(path=path))
    with pytest.raises(DataError):
        read_bounded(path, {}, run_module.LARGEST_DATASET)
    begun_s = time.monotonic()
    assert Run(run_path).prompts == {}
    assert time.monotonic() - begun_s < 10


# -- damaged manifests


def places(value, path=()):
    """Every place in a manifest that can be altered."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for step, inner in items:
        yield from places(inner, (*path, step))


VALUES = [None, True, -1, 0, 10**30, 1e308, float("nan"), "", "../..", "x" * 5_000, "\x1b[31m", [], [[]], {}, {"a": {}}]
MISSING = object()


def altered(manifest, path, value):
    changed = place = copy.copy(manifest)
    for step in path[:-1]:
        place[step] = copy.copy(place[step])
        place = place[step]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def test_any_alteration_of_a_manifest_is_told_or_bears_being_listed(run_path, capfd):
    """Hundreds of them: each is listed, or left out with a reason."""
    whole = json.loads((run_path / "manifest.json").read_text("utf-8"))
    file = run_path / "manifest.json"
    turns = itertools.cycle(itertools.combinations(VALUES, 2))
    tried = 0
    for path in places(whole):
        for value in (*next(turns), MISSING):
            file.write_text(json.dumps(altered(whole, path, value)), "utf-8")
            assert ls(run_path.parent, as_json=False) == 0, (path, value)
            tried += 1
    assert tried > 300
    assert "\x1b" not in "".join(capfd.readouterr())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_alteration_of_a_manifest_is_told_or_bears_being_shown(run_path, made, data):
    whole = json.loads((made / "manifest.json").read_text("utf-8"))
    path = data.draw(st.sampled_from(list(places(whole))))
    value = data.draw(st.sampled_from([*VALUES, MISSING]))
    (run_path / "manifest.json").write_text(json.dumps(altered(whole, path, value)), "utf-8")
    with contextlib.suppress(RunNotFoundError):  # anything else is a fault of ours
        call(["show", str(run_path)])
        call(["report", str(run_path)])
        call(["history", "--out", str(run_path.parent)])


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"format":1,"a":' * 50_000, "9" * 10_000, '{"format": "\\ud800"}', '{"format": 1e999}', "nul"],
)
def test_json_that_is_a_trap_is_told(run_path, text):
    (run_path / "manifest.json").write_text(text, "utf-8")
    for arguments in (["show", str(run_path)], ["report", str(run_path)]):
        with pytest.raises(RunNotFoundError):
            call(arguments)
    assert call(["ls", "--out", str(run_path.parent)]) == 0


@pytest.mark.parametrize("column", ["arm", "status", "prompt_id", "latency_s"])
def test_rows_without_what_every_row_has_are_told(run_path, column):
    part = run_path / "records" / "part-000000.parquet"
    pq.write_table(pq.read_table(part).drop_columns([column]), part)
    with pytest.raises(RunNotFoundError, match=f"rows without {column}"):
        look(run_path)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_damaged_part_is_told(run_path, damage):
    (run_path / "spans" / "part-000000.parquet").write_bytes(damage)
    with pytest.raises(RunNotFoundError, match="spans cannot be read"):
        look(run_path)


# -- going on with it


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf /",
        "quark-bench",
        "quark-bench ls",
        "quark-bench gate run",
        "/tmp/quark-bench run x.jsonl",
        "sh -c 'quark-bench run x.jsonl'",
        "quark-bench run --resume last",
        "quark-bench run x.jsonl --resume=last",
        "quark-bench run 'x.jsonl",
        " ",
    ],
)
def test_a_run_is_continued_by_no_other_command(run_path, line):
    rewrite(run_path, lambda manifest: manifest.update(command=line, state="interrupted"))
    with pytest.raises(UsageError, match="begin a new run"):
        call(["run", "--resume", str(run_path)])


def test_a_folder_that_is_not_here_is_told_with_the_command(run_path):
    line = "quark-bench run prompts.jsonl"
    rewrite(run_path, lambda manifest: manifest.update(command=line, folder="/nowhere/at all", state="interrupted"))
    with pytest.raises(UsageError, match=f"is no folder here; .*{line} --resume"):
        call(["run", "--resume", str(run_path)])


def test_what_will_be_run_is_told_before_it_runs(run_path, tmp_path):
    (tmp_path / "own.py").write_text("raise SystemExit('code of the run')\n")
    (tmp_path / "prompts.jsonl").write_text('{"text": "a"}\n')
    line = "quark-bench run prompts.jsonl --pipeline own.py:pipeline --on inline"
    rewrite(run_path, lambda manifest: manifest.update(command=line, folder=str(tmp_path), state="interrupted"))
    told = command(tmp_path, "run", "--resume", run_path)
    assert told.code == 2
    assert told.err.index(f"in {tmp_path} with: {line}") < told.err.index("code of the run")
    assert told.out == ""


def test_a_secret_in_the_command_has_to_be_given_again(run_path):
    line = "quark-bench run prompts.jsonl --on 'tls://me:[redacted]@host:1' --slo=[redacted]"
    rewrite(run_path, lambda manifest: manifest.update(command=line, state="interrupted"))
    with pytest.raises(
        UsageError, match="--on and --slo held a secret, which is not kept; give the whole command again"
    ):
        call(["run", "--resume", str(run_path)])
