"""Commands as processes that begin quickly: each is a fork of one process that has imported what all of them need.

A command started anew spends most of its time on imports. What is imported, and what `--help` must not import, is
looked at in processes of their own: test_import_time.py. Run as a script, this file is the process that forks.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading

ENTRIES = {
    "quark-bench": ("quark_bench.cli", "main"),
    "meta-async": ("quark_bench.cli", "main_live"),
    "dask": ("dask.__main__", "main"),
}
"""Commands, each with its module and function."""
LARGEST_REQUEST = 1_000_000


# -- the side of the tests


class Forked:
    """A command under way."""

    def __init__(self, told):
        self._told = told
        self.pid = int(told.readline())
        self.returncode = None

    def poll(self):
        """The exit code, or None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout=None):
        """The exit code; minus the signal that killed it. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            self._end()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _end(self):
        self.returncode = int(self._told.readline())
        self._told.close()


class _Forker:
    """The process that forks, started when a test first asks for a command."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket = None

    def fork(self, request, files):
        read, write = os.pipe()
        with self._lock:
            if self._socket is None:
                self._begin()
            socket.send_fds(self._socket, [json.dumps(request).encode()], [*files, write])
        os.close(write)
        return Forked(os.fdopen(read, "rb", buffering=0))

    def _begin(self):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_REQUEST)
        command = [sys.executable, __file__, str(theirs.fileno())]
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        atexit.register(self._close, process)

    def _close(self, process):
        self._socket.close()
        process.wait(timeout=30)


_forker = _Forker()


def begin(command, arguments, folder, environment, files):
    """Begin one of the commands in a folder and a session of its own, with these three files as its standard
    streams. A terminal among them controls it."""
    request = {
        "command": command,
        "arguments": [str(each) for each in arguments],
        "folder": str(folder),
        "environment": dict(environment),
    }
    return _forker.fork(request, [each if isinstance(each, int) else each.fileno() for each in files])


def run(command, *arguments, folder, environment=os.environ, said="", timeout_s=60):
    """Run one to its end with so much on its standard input: a CompletedProcess. Raises TimeoutExpired."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(said.encode())
        given.seek(0)
        process = begin(command, arguments, folder, environment, (given, out, err))
        try:
            code = process.wait(timeout_s)
        except BaseException:
            process.send_signal(signal.SIGKILL)
            raise
        texts = [file.seek(0) or file.read().decode() for file in (out, err)]
    return subprocess.CompletedProcess([command, *arguments], code, *texts)


# -- the side of the commands


def import_all():
    """What the commands import at the latest when they do what they are for."""
    import quark_bench

    for module in pkgutil.walk_packages(quark_bench.__path__, "quark_bench."):
        if not module.name.endswith(("__main__", "pytest_plugin")):
            importlib.import_module(module.name)
    for name in ("bm25s", "distributed", "matplotlib.pyplot", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn"):
        importlib.import_module(name)


def serve(requests):
    """Fork a command for each request, until there are no more. Returns in the command's process with the request."""
    while True:
        text, files, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 4)
        if not text:
            return None
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, told = files
    pid = os.fork()
    if pid:
        mind(pid, streams, told)
    os.setsid()
    os.close(told)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    return json.loads(text)


def reap(*_):
    """Let go of those who minded a command that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def mind(pid, streams, told):
    """Tell the process's number, and its exit code once it has ended."""
    for stream in streams:
        os.close(stream)
    for number in range(3):
        os.close(number)
    os.write(told, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(request):
    """Be the command: its arguments, folder, environment and streams."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["command"], *request["arguments"]]
    sys.path[0] = request["folder"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = open(number, "r" if number == 0 else "w", encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        if name == "stderr":
            stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if request["command"] == "dask":
        importlib.import_module("dask.config").refresh()  # which read the environment before the fork
    if request["arguments"][:1] in (["run"], ["gate"]):
        # What figures show is looked at where reports are drawn in the tests' own process; here they would be
        # most of what a command costs.
        importlib.import_module("quark_bench.report.canvas")._painted = lambda *_, **__: b"<svg ></svg>"
    module, function = ENTRIES[request["command"]]
    getattr(importlib.import_module(module), function)()


def leave(code):
    """End as an interpreter does, but for taking apart what was imported before the fork."""
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()  # a coroutine that was never awaited is told of now
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    importlib.import_module("quark_bench.cli.memory").give_back_freed_memory()  # which is for before pyarrow comes
    import_all()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, reap)
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        try:
            become(asked)
        except SystemExit as ended:
            leave(ended.code)
