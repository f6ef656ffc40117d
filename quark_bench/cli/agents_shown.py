"""Agents shown: what a person sees of a prompt's agents while they run; plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from quark_bench.live_trial import Progress
from quark_bench.plain import one_line
from quark_bench.record import SpanStatus
from quark_bench.units import SECONDS

GAP = "  "


class Course:
    """How each agent of a prompt got on last, in the order in which they began."""

    def __init__(self) -> None:
        self._last: dict[str, Progress] = {}

    def take(self, progress: Progress) -> None:
        """Note what an agent does now."""
        self._last[progress.agent] = progress

    def those(self, *statuses: str | None) -> list[Progress]:
        """The agents of these statuses; None is under way."""
        return [progress for progress in self._last.values() if progress.status in statuses]

    def told(self) -> list[str]:
        """A few words for each agent."""
        return [told(progress) for progress in self._last.values()]


def told(progress: Progress) -> str:
    """`nlu …` while an agent runs, then `nlu ✓ 21.0 ms`; what is not simply fine is named."""
    name = one_line(progress.agent)
    if progress.status is None:
        return f"{name} …"
    if progress.status == SpanStatus.SKIPPED:
        return f"{name} skipped"
    mark = "✓" if progress.status == SpanStatus.OK else progress.status
    return f"{name} {mark} {SECONDS.format(progress.took_s)}"


def filled(parts: Iterable[str], width: int, gap: str = GAP) -> str:
    """The parts side by side, in as few lines of at most `width` cells as their order allows."""
    lines = [""]
    for part in parts:
        longer = lines[-1] + gap + part if lines[-1] else part
        if lines[-1] and cell_len(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(lines)


@contextmanager
def showing(console: Console, course: Course) -> Iterator[Callable[[Progress], None]]:
    """To be called with what agents do: in a terminal one text that is drawn again in place, else a line each time."""
    if not console.is_terminal or console.is_dumb_terminal:

        def write(progress: Progress) -> None:
            course.take(progress)
            console.print(Text(GAP + told(progress)), soft_wrap=True)

        yield write
        return
    with Live(console=console, auto_refresh=False) as live:

        def draw(progress: Progress) -> None:
            course.take(progress)
            live.update(Text(filled(course.told(), console.width), "dim"), refresh=True)

        yield draw
