"""Real schedulers and workers, each a process of its own, to be killed, frozen and started late."""

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

from distributed import Client

from .forked import begin

LOOPBACK = "127.0.0.1"


def free_port():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


class DaskProcesses:
    """A scheduler and workers started by Dask's own commands from `folder`.

    `host` is the scheduler's loopback address; `security` lets our own clients in where it speaks TLS. Forked ones
    begin at once, having imported what a new Python would import for a second.
    """

    def __init__(self, folder, host=LOOPBACK, forked=False, **environment):
        self.folder = folder
        self.host = host
        self.forked = forked
        self.security = None
        self.environment = os.environ | {"PYTHONWARNINGS": "ignore"} | environment
        self.started = []
        self.port = free_port()
        self.address = f"tcp://{host}:{self.port}"

    def dask(self, *arguments, python=(), **environment):
        environment = self.environment | environment
        with (self.folder / f"dask-{len(self.started)}.log").open("w") as log, open(os.devnull) as nothing:
            if self.forked:
                process = begin("dask", arguments, self.folder, environment, (nothing, log, log))
            else:
                process = subprocess.Popen(
                    [sys.executable, *python, "-m", "dask", *map(str, arguments)],
                    cwd=self.folder,
                    env=environment,
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self.started.append(process)
        return process

    def scheduler(self, *options, **environment):
        common = ("--host", self.host, "--port", self.port, "--dashboard-address", f"{self.host}:0")
        self.scheduler_process = self.dask("scheduler", *common, *options, **environment)
        self.wait_for_workers(0)
        return self

    def worker(self, *options, host=LOOPBACK, **environment):
        """One more worker; with `--no-nanny` nobody restarts it. `python` are options of the interpreter."""
        common = ("--host", host, "--nthreads", 8, "--dashboard-address", f"{host}:0")
        local = ("--local-directory", self.folder / f"space-{len(self.started)}")
        return self.dask("worker", self.address, *common, *local, *options, **environment)

    def wait_for_workers(self, count, timeout_s=60):
        until = time.monotonic() + timeout_s
        while True:
            try:
                with self.client(timeout=5) as client:
                    if count:
                        client.wait_for_workers(count, timeout=timeout_s)
                return self
            except OSError:
                if time.monotonic() > until:
                    raise

    def client(self, timeout=30):
        return Client(self.address, timeout=timeout, set_as_default=False, security=self.security)

    @property
    def workers(self):
        """The addresses of those that are there."""
        with self.client() as client:
            return sorted(client.scheduler_info(n_workers=-1)["workers"])

    def close(self):
        for process in reversed(self.started):
            if process.poll() is None:
                with suppress(ProcessLookupError):  # it may end just now
                    os.killpg(process.pid, signal.SIGCONT)
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


@contextmanager
def dask_processes(folder, workers=0, *options, forked=False, **environment):
    """A scheduler with so many workers without nannies, ended at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    processes = DaskProcesses(folder, forked=forked, **environment)
    try:
        processes.scheduler()
        for _ in range(workers):
            processes.worker("--no-nanny", *options)
        yield processes.wait_for_workers(workers)
    finally:
        processes.close()


forked_processes = functools.partial(dask_processes, forked=True)


def until(true, timeout_s=60, every_s=0.05):
    """Wait for something to become true."""
    end_s = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(every_s)
    return found
