"""Terminals: a program at a pseudo-terminal of 24 rows and 80 columns, and a person who types."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from .forked import begin

ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
CTRL_C, CTRL_D = "\x03", "\x04"
PATIENCE_S = 30.0
AGAIN_S = 3.0


class Terminal:
    """`expect` reads until a text has come after what was expected before, without colours and cursor movements."""

    def __init__(self, command, arguments, folder, environment):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        seen = {name: value for name, value in environment.items() if name not in ("COLUMNS", "NO_COLOR", "CI")}
        self._process = begin(command, arguments, folder, seen | {"TERM": "xterm-256color"}, [theirs] * 3)
        os.close(theirs)
        self._data = b""
        self._seen = 0

    @property
    def written(self):
        """All that was written, with colours and cursor movements."""
        return self._data.decode("utf-8", "replace")

    @property
    def shown(self):
        """All that was shown."""
        return ESCAPE.sub("", self.written)

    def type(self, text):
        os.write(self._ours, text.encode())

    def expect(self, pattern):
        """Read until this regular expression matches; fails with what was shown where it does not."""
        assert self._comes(pattern, PATIENCE_S), f"{pattern!r} did not come:\n{self.shown[self._seen :]}"

    def press(self, key, pattern):
        """Press a key, again where nothing comes of it. CPython notices a signal late that arrives in the few
        microseconds between drawing a prompt and waiting for a key, where no person hits it."""
        deadline_s = time.monotonic() + PATIENCE_S
        self.type(key)
        while not self._comes(pattern, AGAIN_S):
            assert time.monotonic() < deadline_s, f"{pattern!r} did not come:\n{self.shown[self._seen :]}"
            self.type(key)

    def _comes(self, pattern, within_s):
        deadline_s = time.monotonic() + within_s
        while (found := re.compile(pattern).search(self.shown, self._seen)) is None:
            if not self._read(deadline_s):
                return False
        self._seen = found.end()
        return True

    def _read(self, deadline_s):
        """Whether there was something to read before the deadline, and the program has not closed its end."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline_s - time.monotonic()))
        try:
            part = os.read(self._ours, 65_536) if ready else b""
        except OSError:  # Linux says so when the last writer has gone
            part = b""
        self._data += part
        return bool(part)

    def wait(self):
        """The exit code, once the program has ended by itself."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._read(deadline_s):
            pass
        return self._process.wait(timeout=PATIENCE_S)

    def close(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._ours)

    @property
    def widest(self):
        """Columns of the longest line."""
        return max(map(len, re.split(r"[\r\n]+", self.shown)))
