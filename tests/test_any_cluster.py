"""Any cluster: real classes, remote processes, certificates, and who can reach what we start."""

import contextlib
import ipaddress
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from distributed.security import Security

from quark_bench.bench import Silent
from quark_bench.errors import ClusterError, UsageError
from quark_bench.execute import cluster as cluster_module

from .certificates import make_certificates
from .conftest import Way

OWN = """
import asyncio
from quark_bench import Pipeline, agent
from own_words import greeting

@agent
async def greet(prompt):
    await asyncio.sleep(0.02)
    return f"{greeting()}, {prompt.text}"

@agent
def place(prompt):
    return __file__

greeter = Pipeline("greeter", [greet], answer="greet")
placed = Pipeline("placed", [place], answer="place")
"""
LOCAL = """
n_workers = 2
threads_per_worker = 2
host = "127.0.0.1"
dashboard_address = "127.0.0.1:0"
"""
CLASSES = {
    "LocalCluster": f'cluster = "distributed:LocalCluster"\n[kwargs]\n{LOCAL}',
    "SubprocessCluster": f'cluster = "distributed:SubprocessCluster"\nscale = 2\n[kwargs]\n{LOCAL}',
    "a batch system's": """
        cluster = "dask_jobqueue.local:LocalCluster"
        scale = 2
        [kwargs]
        cores = 2
        processes = 1
        memory = "2GB"
        scheduler_options = { host = "127.0.0.1", dashboard_address = "127.0.0.1:0" }
        worker_extra_args = ["--host", "127.0.0.1"]
    """,
    "one that adapts": f"""
        cluster = "distributed:LocalCluster"
        adapt = {{ minimum = 1, maximum = 2 }}
        kwargs = {{ {", ".join(LOCAL.replace("n_workers = 2", "n_workers = 0").strip().splitlines())} }}
    """,
}


def write(folder, text, name="cluster.toml"):
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.fixture
def own(tmp_path):
    """A user's pipeline file with a module beside it, in a folder that no other process works in."""
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder, OWN, "own.py")
    write(folder, 'def greeting():\n    return "hello"\n', "own_words.py")
    return folder / "own.py"


def greeted(run, prompts):
    """Whether every prompt was answered rightly, once in each arm."""
    assert set(run.records["status"]) == {"ok"}
    assert len(run.records) == prompts * run.records["arm"].nunique()
    return set(run.records["answer"]) == {f"hello, prompt {n}" for n in range(prompts)}


@pytest.mark.parametrize("granularity", ["chunk", "agent"])
@pytest.mark.parametrize("text", CLASSES.values(), ids=CLASSES)
def test_a_run_takes_place_on_whatever_class_a_file_names(text, granularity, tmp_path, own, run_with, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a batch system's class writes where it is started
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    run = run_with(Way(write(tmp_path, text), granularity), 12, f"{own}:greeter", arms=["sync", "async"])
    assert greeted(run, 12)
    assert run.manifest["cluster"]["workers"] >= 1
    assert run.manifest["cluster"]["on"].endswith("cluster.toml")
    assert run.manifest["cluster"]["allowed_failures"] in (0, 3), "only a scheduler of another process has Dask's own"
    left = [each for each in psutil.Process().children(recursive=True) if each.pid not in before]
    _, alive = psutil.wait_procs([each for each in left if "dask" in " ".join(_command(each))], timeout=10)
    assert not alive, "what was started was closed"


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


DUCK = """
from distributed import LocalCluster

closed = []

class Duck:
    "No Cluster, but enough of one."

    def __init__(self, host="127.0.0.1", told=None):
        self._inner = LocalCluster(n_workers=0, host=host, dashboard_address="127.0.0.1:0", silence_logs=50)
        self.scheduler_address = told or self._inner.scheduler_address
        self.security = self._inner.security
        self.status = "running"

    def scale(self, n):
        self._inner.scale(n)

    def close(self):
        closed.append(self)
        self._inner.close()
"""


@pytest.fixture
def duck(tmp_path, monkeypatch):
    """A module with a class that is no Cluster, as dask-gateway's is none."""
    write(tmp_path, DUCK, "duck_cluster.py")
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda: sys.modules["duck_cluster"].closed
    sys.modules.pop("duck_cluster", None)


def test_a_class_need_not_descend_from_dasks(tmp_path, duck, own, run_with):
    file = write(tmp_path, 'cluster = "duck_cluster:Duck"\nscale = 1')
    assert greeted(run_with(Way(file, "chunk"), 4, f"{own}:greeter", arms=["async"]), 4)
    assert len(duck()) == 1


def test_a_class_that_listens_plainly_elsewhere_is_refused_and_closed(tmp_path, duck, own, run_with):
    file = write(tmp_path, 'cluster = "duck_cluster:Duck"\nscale = 1\n[kwargs]\ntold = "tcp://192.0.2.7:8786"')
    with pytest.raises(UsageError, match=r"cluster\.toml leads to tcp://192\.0\.2\.7:8786.*--insecure"):
        run_with(Way(file, "chunk"), 4, f"{own}:greeter", arms=["async"])
    assert len(duck()) == 1


def test_a_cluster_whose_workers_never_come_is_told_and_closed(tmp_path, duck, own, run_with, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_S", 1.0)
    file = write(tmp_path, 'cluster = "duck_cluster:Duck"')
    with pytest.raises(ClusterError, match=r"no workers after 1 s; give scale = N in .*cluster\.toml"):
        run_with(Way(file, "chunk"), 4, f"{own}:greeter", arms=["async"])
    assert len(duck()) == 1


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ('cluster = "dask_gateway:GatewayCluster"', UsageError, "pip install dask-gateway"),
        ('cluster = "nowhere_at_all:X"', UsageError, "pip install nowhere_at_all"),
        ('cluster = "distributed:LocalClutter"', UsageError, "module distributed has no class LocalClutter"),
        ('cluster = "duck_cluster:Duck"\n[kwargs]\nn = 1', UsageError, "does not take these .kwargs.*'n'"),
        ('cluster = "duck_cluster:Duck"\n[kwargs]\nhost = "192.0.2.7"', ClusterError, "could not be started"),
        ('cluster = "duck_cluster:Duck"\n[adapt]\nmaximum = 2', ClusterError, r"refuses \[adapt\]"),
    ],
)
def test_a_class_that_cannot_be_used_is_told_with_its_file(text, kind, told, tmp_path, duck, own, run_with):
    with pytest.raises(kind, match=f"cluster\\.toml.*{told}"):
        run_with(Way(write(tmp_path, text), "chunk"), 4, f"{own}:greeter", arms=["async"])


class Leaving(Silent):
    """Takes the user's files away before the workers load them, as if they stood on another machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage(self, name: str) -> None:
        if name == "loading agents":
            self.folder.rename(self.folder.with_name("gone"))


@pytest.mark.parametrize("granularity", ["chunk", "agent"])
def test_user_code_reaches_workers_that_do_not_have_it(granularity, remote, own, run_with):
    leaving = Leaving(own.parent)
    run = run_with(Way(remote, granularity), 20, f"{own}:placed", arms=["async"], watcher=leaving)
    assert set(run.records["status"]) == {"ok"}
    (place,) = set(run.records["answer"])
    assert not Path(place).is_relative_to(own.parent)
    assert run.manifest["cluster"]["workers"] == 2


def test_a_remote_scheduler_with_workers_elsewhere_gives_complete_results(remote, own, run_with):
    run = run_with(Way(remote, "auto"), 60, f"{own}:greeter")
    assert greeted(run, 60)
    assert run.manifest["cluster"]["address"].startswith("tcp://127.0.0.2:")
    assert run.records["worker"].nunique() == 2


def test_a_scheduler_file_is_where_a_run_takes_place(remote, elsewhere, own, run_with):
    run = run_with(Way(str(elsewhere.folder / "scheduler.json"), "chunk"), 6, f"{own}:greeter", arms=["async"])
    assert greeted(run, 6)
    assert run.manifest["cluster"]["address"] == remote
    assert len(elsewhere.workers) == 2, "what we did not start goes on"


# -- certificates


TLS = '[tls]\nca_file = "ca.pem"\ncert = "own.pem"\nkey = "own-key.pem"\n'


class Secured:
    """A scheduler and a worker that speak TLS only, in processes of their own."""

    def __init__(self, processes, folder):
        self.folder = make_certificates(folder)
        ca, cert, key = (str(folder / name) for name in ("ca.pem", "own.pem", "own-key.pem"))
        self.environment = {
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": ca,
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": cert,
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": key,
        }
        options = ("--protocol", "tls", "--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key)
        processes.address = self.address = processes.address.replace("tcp://", "tls://")
        processes.security = Security(tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True)
        processes.scheduler(*options)
        processes.worker("--no-nanny", *options, host="127.0.0.3")
        processes.wait_for_workers(1)


@pytest.fixture
def secured(elsewhere, tmp_path):
    return Secured(elsewhere, tmp_path / "certificates")


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_S", 2.0)


@pytest.mark.parametrize("granularity", ["chunk", "agent"])
def test_both_ends_show_certificates_and_the_run_is_complete(granularity, secured, own, run_with):
    file = write(secured.folder, f'address = "{secured.address}"\n{TLS}')
    run = run_with(Way(file, granularity), 10, f"{own}:greeter", arms=["async"])
    assert greeted(run, 10)
    assert run.manifest["cluster"]["address"].startswith("tls://127.0.0.2:")


def test_certificates_may_come_from_dasks_own_configuration(secured, tmp_path):
    command = [sys.executable, "-m", "quark_bench", "doctor", "--on", secured.address, "--json"]
    told = subprocess.run(  # Dask reads its configuration when it is imported
        command,
        env=os.environ | secured.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["encrypted"] is True


def test_a_client_without_certificates_is_told_how_to_give_them(secured, own, run_with):
    with pytest.raises(UsageError, match=r"TLS needs certificates.*\[tls\] with ca_file.*DASK_DISTRIBUTED__COMM__TLS"):
        run_with(Way(secured.address, "chunk"), 2, f"{own}:greeter", arms=["async"])


def test_a_client_with_a_strangers_certificate_is_refused(secured, own, run_with, tmp_path, hasty):
    stranger = make_certificates(tmp_path / "stranger")
    file = write(stranger, f'address = "{secured.address}"\n{TLS}')
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers.*signed by the CA that the other end names"):
        run_with(Way(file, "chunk"), 2, f"{own}:greeter", arms=["async"])


def test_a_plain_client_cannot_connect_to_a_scheduler_that_speaks_tls(secured, own, run_with, hasty):
    plain = secured.address.replace("tls://", "tcp://")
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers.*at its tls:// address"):
        run_with(Way(plain, "chunk"), 2, f"{own}:greeter", arms=["async"])


def test_files_that_are_no_certificates_are_told(own, run_with, tmp_path):
    for name in ("ca.pem", "own.pem", "own-key.pem"):
        write(tmp_path, "nonsense", name)
    with pytest.raises(UsageError, match=r"cluster\.toml, \[tls\]: the files are no certificate and key"):
        run_with(Way(write(tmp_path, f'address = "tls://127.0.0.1:1"\n{TLS}'), "chunk"), 2, f"{own}:greeter")


@pytest.mark.parametrize("kind", ["LocalCluster", "a batch system's"])
def test_a_class_is_given_the_certificates_for_both_ends(kind, own, run_with, tmp_path, monkeypatch):
    folder = make_certificates(tmp_path / "certificates")
    monkeypatch.chdir(folder)
    run = run_with(Way(write(folder, f"{CLASSES[kind]}\n{TLS}"), "chunk"), 6, f"{own}:greeter", arms=["async"])
    assert greeted(run, 6)
    assert run.manifest["cluster"]["address"].startswith("tls://")


# -- who can reach what we start


WAITING = """
import asyncio
from quark_bench import Pipeline, agent

@agent
async def wait(prompt):
    await asyncio.sleep(0.3)
    return "waited"

waiting = Pipeline("waiting", [wait], answer="wait")
"""


def listening_sockets(process):
    """`(address, port)` of every socket at which a process or a child of it listens."""
    found = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                found |= {
                    (each.pid, at.laddr.ip, at.laddr.port)
                    for at in each.net_connections(kind="inet")
                    if at.status == psutil.CONN_LISTEN
                }
    return found


def test_no_process_of_a_run_listens_beyond_loopback(tmp_path):
    write(tmp_path, WAITING, "waits.py")
    write(tmp_path, "".join(f'{{"text": "prompt {n}"}}\n' for n in range(8)), "prompts.jsonl")
    command = [sys.executable, "-m", "quark_bench", "run", "prompts.jsonl", "--pipeline", "waits.py:waiting"]
    run = subprocess.Popen(
        [*command, "--arm", "parallel", "--warmup", "2"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    found = set()
    deadline = time.monotonic() + 90
    try:
        while run.poll() is None and time.monotonic() < deadline:
            found |= listening_sockets(psutil.Process(run.pid))
            time.sleep(0.05)
        told = run.communicate(timeout=10)[0].decode()
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, told
    assert len({pid for pid, _, _ in found}) >= 3, "scheduler, nannies and workers listen"
    assert not [at for at in found if not ipaddress.ip_address(at[1]).is_loopback]
