"""`quark-bench doctor`: what it reports, what it advises, and its exit code."""

import dataclasses
import json
import os

import pytest

from quark_bench.execute.examine import Examination, Measured, Worker, advice
from quark_bench.execute.round_trips import SAME_CLOCK, ClockOffset, RoundTrip
from quark_bench.execute.versions import COMPARED, Versions, differences

from .forked import run

HERE = dict.fromkeys(COMPARED, "1.0")
ALIKE = Versions(HERE, HERE, {"tcp://127.0.0.3:1": HERE})
MEASURED = Measured(
    round_trip=RoundTrip(0.001, 0.001, 0.002),
    hop_s=0.01,
    clocks={"127.0.0.3": SAME_CLOCK},
    allowed_failures=0,
    listening=(("127.0.0.1", 8786), ("127.0.0.1", 8787)),
)
WELL = Examination(
    on="tcp://127.0.0.1:8786",
    address="tcp://127.0.0.1:8786",
    port=8786,
    dashboard="http://127.0.0.1:8787/status",
    dashboard_port=8787,
    started=False,
    versions=ALIKE,
    differences=(),
    workers=(Worker("tcp://127.0.0.3:1", "127.0.0.3", 4, 10**9),),
    measured=MEASURED,
)
EVERYWHERE = (("0.0.0.0", 8786), ("::", 8786), ("0.0.0.0", 8787))


def found(**changes):
    """A cluster in which all is well but for what is given; fields of `Measured` go there."""
    of_measured = {name: value for name, value in changes.items() if name in MEASURED.__dataclass_fields__}
    rest = {name: value for name, value in changes.items() if name not in of_measured}
    return dataclasses.replace(WELL, measured=dataclasses.replace(MEASURED, **of_measured), **rest)


def test_where_all_is_well_there_is_nothing_to_change():
    assert list(advice(WELL)) == []
    assert WELL.would_start
    assert WELL.open_to == "this machine"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"allowed_failures": 3}, "on 3 more"),
        ({"listening": (("127.0.0.1", 8786), ("0.0.0.0", 8787))}, "dashboard is open to other machines:"),
        ({"listening": (("0.0.0.0", 8786), ("127.0.0.1", 8787))}, "scheduler's port 8786 is open to other machines"),
        ({"hop_s": 0.3}, "an empty task takes 300 ms"),
        ({"clocks": {"far": ClockOffset(5.0, 0.02)}}, "the clock of far is known to ± 20 ms only"),
        ({"workers": (Worker("tcp://127.0.0.3:1", "127.0.0.3", 4, 0),)}, "1 of 1 workers have no memory limit"),
    ],
)
def test_each_weakness_has_its_advice_and_stops_no_run(changes, told):
    examined = found(**changes)
    (only,) = advice(examined)
    assert told in only
    assert examined.would_start


def test_an_encrypted_port_may_be_open_but_the_dashboard_is_not_covered():
    examined = found(address="tls://127.0.0.1:8786", listening=EVERYWHERE)
    (only,) = advice(examined)
    assert "TLS does not cover it" in only


def test_what_stops_a_run_comes_first_and_fails():
    other = Versions(HERE, HERE, {"tcp://127.0.0.3:1": HERE | {"dask": "0.9"}})
    differing = dataclasses.replace(WELL, versions=other, differences=differences(other), measured=None)
    first, last = advice(differing)
    assert "pip install dask==1.0" in first
    assert "run doctor again" in last
    broken = dataclasses.replace(WELL, trouble="worker w could not load the pipeline", measured=None)
    assert next(advice(broken)) == "worker w could not load the pipeline"
    assert not differing.would_start
    assert not broken.would_start


def doctor(folder, *arguments, columns="80"):
    return run("quark-bench", "doctor", *arguments, folder=folder, environment=os.environ | {"COLUMNS": columns})


USER = """
from quark_bench import Pipeline, agent

@agent
def fine(prompt):
    return "fine"

@agent(setup=lambda: 1 / 0)
def unready(prompt):
    return "never"

pipeline = Pipeline("fine", [fine], answer="fine")
broken = Pipeline("broken", [unready], answer="unready")
"""


def test_a_local_cluster_is_well_in_a_terminal(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    told = doctor(tmp_path, "--pipeline", "user.py:pipeline")
    assert told.returncode == 0, told.stderr
    assert max(map(len, told.stdout.splitlines())) <= 80
    for expected in ("plain, within this machine", "Round trip", "Task hop", "user.py:pipeline loads on every worker"):
        assert expected in told.stdout
    assert "Nothing to change" in told.stdout
    assert "A run would start here" in told.stdout
    assert "DIFFERS" not in told.stdout


def test_a_remote_cluster_is_described_as_json(remote, tmp_path):
    told = doctor(tmp_path, "--on", remote, "--json")
    assert told.returncode == 0, told.stderr
    data = json.loads(told.stdout)
    assert data["address"] == remote
    assert data["encrypted"] is False
    assert data["dashboard_open_to"] == "this machine"
    assert {worker["host"] for worker in data["workers"]} == {"127.0.0.3", "127.0.0.4"}
    assert {worker["threads"] for worker in data["workers"]} == {8}
    assert data["measured"]["round_trip"]["median_s"] > 0
    assert set(data["measured"]["clocks"]) == {"127.0.0.3", "127.0.0.4"}
    assert data["measured"]["allowed_failures"] == 3
    assert any("ALLOWED_FAILURES=0" in each for each in data["advice"])
    assert data["would_start"] is True


def test_a_worker_of_other_versions_is_marked_and_a_run_would_not_start(elsewhere, with_versions, tmp_path):
    address = elsewhere.scheduler().address
    elsewhere.worker("--no-nanny")
    elsewhere.worker("--no-nanny", **with_versions(cloudpickle="1.2.3"))
    elsewhere.wait_for_workers(2)
    told = doctor(tmp_path, "--on", address)
    assert told.returncode == 4
    assert "1.2.3 DIFFERS" in told.stdout
    assert "pip install cloudpickle==" in " ".join(told.stdout.split())
    assert "A run would not start here" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert told.stderr == ""


def test_code_that_does_not_load_is_told(remote, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    told = doctor(tmp_path, "--on", remote, "--pipeline", "user.py:broken")
    assert told.returncode == 4
    assert "user.py:broken does not load" in told.stdout
    assert "ZeroDivisionError" in told.stdout


def test_a_class_that_opens_its_dashboard_to_others_is_told(tmp_path):
    arguments = 'n_workers = 1\nthreads_per_worker = 1\ndashboard_address = ":0"\n'
    (tmp_path / "open.toml").write_text(f'cluster = "distributed:LocalCluster"\n[kwargs]\n{arguments}')
    told = doctor(tmp_path, "--on", "open.toml")
    assert told.returncode == 0, told.stderr
    assert "open to others" in told.stdout
    assert "the dashboard is open to other machines" in " ".join(told.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--on", "inline"], 2, "there is no cluster to examine"),
        (["--on", "somewhere"], 2, "give local, inline, or a scheduler's address"),
        (["--on", "tcp://192.0.2.7:8786"], 2, "--insecure"),
        (["--pipeline", "nowhere.py:p"], 2, "there is no file nowhere.py"),
        (["--on", "tcp://127.0.0.1:1"], 4, "no Dask scheduler answers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_and_an_unreachable_cluster_have_their_exit_codes(arguments, code, message, tmp_path):
    told = doctor(tmp_path, *arguments)
    assert (told.returncode, told.stdout) == (code, "")
    assert message in told.stderr
    assert len(told.stderr.splitlines()) == 1
