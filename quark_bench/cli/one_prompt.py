"""`meta-async test`: one prompt, its agents and its answer."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from quark_bench.cli.agents_shown import Course, showing
from quark_bench.cli.live_session import LiveOptions, LiveSession
from quark_bench.cli.run import LONGEST_ERROR, as_text
from quark_bench.cli.start import about
from quark_bench.live_trial import Answer
from quark_bench.plain import plain, shortened
from quark_bench.record import SpanStatus

EXIT_FAILED = 4


def answer_prompt(prompt: str, options: LiveOptions, *, as_json: bool) -> int:
    """Answer it, tell as soon as the answer is there, and give the exit code. For JSON waits for all agents."""
    people, course = Console(stderr=True), Course()
    with LiveSession(options) as session:
        with showing(people, course) as show:
            answer = session.ask(prompt, show, to_the_end=as_json)
        if as_json:
            print(as_text(_as_data(prompt, answer, course, session.stats())))
        elif answer.success:
            print(plain(answer), flush=True)
    people.print(Text(about(answer, course), "dim"), soft_wrap=not people.is_terminal)
    if answer.success:
        return 0
    who = f"{answer.error_agent}: " if answer.error_agent else ""
    print(plain(f"meta-async: no answer: {who}{shortened(answer.error or '', LONGEST_ERROR)}"), file=sys.stderr)
    return EXIT_FAILED


def _as_data(prompt: str, answer: Answer, course: Course, stats: dict[str, Any]) -> dict[str, Any]:
    told = ("status", "latency_s", "conversation", "category", "strategy", "reason", "error", "error_agent")
    agents = {
        progress.agent: {"status": progress.status, "took_s": progress.took_s, "error": progress.error}
        for progress in course.those(*SpanStatus)
    }
    return {
        "prompt": prompt,
        "answer": answer.text,
        **{name: getattr(answer, name) for name in told},
        "agents": agents,
        "stats": stats,
    }
