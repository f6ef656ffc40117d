"""`meta-async start`: prompts and answers in turn, and a few words that ask about the session."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console
from rich.text import Text

from quark_bench.cli.agents_shown import Course, showing
from quark_bench.cli.json_page import as_page, rounded
from quark_bench.cli.live_session import LiveOptions, LiveSession
from quark_bench.cli.run import LONGEST_ERROR
from quark_bench.errors import QuarkBenchError
from quark_bench.live_trial import Answer
from quark_bench.plain import one_line, plain, shortened
from quark_bench.record import RecordStatus, SpanStatus
from quark_bench.redact import redact
from quark_bench.report.sentences import plural
from quark_bench.units import SECONDS

PROMPT = "You: "
TURNS = 20
"""Turns of a conversation that are shown: what fits on a screen or two."""
LEAVING = ("quit", "exit")
HELP = """\
Type a prompt and press Enter. These words have a meaning of their own:
  stats    what this session did, how fast, and what holds it back
  history  this conversation
  help     this
  quit     leave; so do exit and Ctrl-D
Ctrl-C cancels the prompt that is being answered."""


def start(options: LiveOptions) -> int:
    """Talk until the person leaves."""
    session = LiveSession(options)
    talk = Talk(session, Console())
    with talk.minding_interrupts(), session:
        talk.go_on()
    return 0


class Talk:
    """One person at a terminal, or lines from a pipe. `_words` are what is not a prompt."""

    def __init__(self, session: LiveSession, console: Console) -> None:
        self._session = session
        self._console = console
        self._typed = sys.stdin.isatty()
        self._reading = False
        self._warned: set[str] = set()
        self._words: dict[str, Callable[[], None]] = {
            "stats": self._stats,
            "history": self._history,
            "help": self._help,
        }
        if self._typed:
            with suppress(ImportError):
                importlib.import_module("readline")  # from now on, `input` lets a line be edited

    @contextmanager
    def minding_interrupts(self) -> Iterator[None]:
        """Inside, Ctrl-C drops the line that is typed or cancels what is waited for; it ends nothing else."""

        def interrupted(number: int, frame: FrameType | None) -> None:
            if self._reading:
                self._reading = False
                raise KeyboardInterrupt
            self._session.cancel()

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def go_on(self) -> None:
        """Until there are no more lines, or one that says so."""
        pipeline, workers = self._session.orchestrator.pipeline, self._session.options.max_workers
        agents = plural(len(pipeline.steps), "agent")
        self._say(f"{pipeline.name}: {agents}, {plural(workers, 'worker')}. Type a prompt, or help.", "dim")
        while (line := self._read()) is not None and line.lower() not in LEAVING:
            word = self._words.get(line.lower())
            if word is not None:
                word()
            elif line:
                self._answer(line)

    def _read(self) -> str | None:
        """The next line; None where there are no more."""
        while True:
            try:
                self._reading = True
                line = input(PROMPT if self._typed else "").strip()
                self._reading = False
            except KeyboardInterrupt:
                self._say("\nCtrl-D or quit leaves.", "dim")
            except EOFError:
                self._reading = False
                if self._typed:
                    self._console.print()
                return None
            else:
                if not self._typed:
                    self._say(PROMPT + line)
                return line

    # -- prompts

    def _answer(self, text: str) -> None:
        course = Course()
        try:
            with showing(self._console, course) as show:
                answer = self._session.ask(text, show, to_the_end=not self._typed)
            self._tell(answer, course)
            self._warn()
        except CancelledError:
            self._say("Cancelled.", "yellow")
        except QuarkBenchError as error:
            self._say(redact(str(error)), "red")

    def _tell(self, answer: Answer, course: Course) -> None:
        for failed in course.those(SpanStatus.FAILED, SpanStatus.FALLBACK):
            if failed.agent == answer.error_agent and not answer.success:
                continue  # it is told below
            self._say(f"{failed.agent} {failed.status}: {shortened(failed.error or '', LONGEST_ERROR)}", "yellow")
        if answer.success:
            said, style = str(answer), ""
        else:
            who = f"{answer.error_agent}: " if answer.error_agent else ""
            said, style = f"No answer: {who}{shortened(answer.error or '', LONGEST_ERROR)}", "red"
        self._say(said, style)
        self._say(about(answer, course), "dim")

    def _warn(self) -> None:
        """Print the warnings that did not apply before. Their numbers change, their first word does not."""
        now = {text.partition(":")[0]: text for text in self._session.stats()["warnings"]}
        for kind in now.keys() - self._warned:
            self._say(f"Warning: {now[kind]}", "yellow")
        self._warned = set(now)

    # -- words

    def _stats(self) -> None:
        with suppress(CancelledError):
            stats = self._session.stats()
            first = {name: stats[name] for name in ("execution_stats", "performance_metrics")}
            print(f"Performance Stats: {as_page(rounded({**first, **stats}))}")
            if (wall := stats["wall"]) is not None:
                self._say(f"Held back by {wall['name']}: {wall['advice']}", "dim")

    def _history(self) -> None:
        with suppress(CancelledError):
            turns = self._session.history(TURNS)
            if not turns:
                self._say("Nothing has been said in this conversation yet.", "dim")
            for turn in turns:
                self._say(PROMPT + turn.prompt, "bold")
                self._say(turn.answer)

    def _help(self) -> None:
        self._say(HELP)

    def _say(self, text: str, style: str = "") -> None:
        """A terminal gets lines that end between words, a pipe those that there are."""
        self._console.print(Text(plain(text), style), soft_wrap=not self._console.is_terminal)


def about(answer: Answer, course: Course) -> str:
    """What an answer is worth knowing beside: category, latency, strategy (`stats` tells why), agents left out and
    still running."""
    skipped = [progress.agent for progress in course.those(SpanStatus.SKIPPED)]
    running = [progress.agent for progress in course.those(None)]
    parts = (
        answer.category,
        SECONDS.format(answer.latency_s),
        "degraded" if answer.status == RecordStatus.DEGRADED else None,
        "answered with an equal prompt" if answer.shared else None,
        answer.strategy,
        f"left out: {', '.join(skipped)}" if skipped else None,
        f"still running: {', '.join(running)}" if running else None,
    )
    return " · ".join(one_line(part) for part in parts if part)
