"""The progress of a task, drawn on standard error while its caller waits: a bar; lines where that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from liteq.clock import Clock
from liteq.context import App
from liteq.utils.text import printable, span

if TYPE_CHECKING:
    from liteq.result.progress import Progress

__all__ = ["drawn", "line_of"]

LINES_S = 1.0  # between two lines


class Shown(Protocol):
    """A result, as its progress is drawn."""

    app: App
    id: str

    @property
    def progress(self) -> Progress | None:
        """Its last report."""

    @property
    def name(self) -> str | None:
        """The name of its task."""


@contextmanager
def drawn(result: Shown, *, no_color: bool = False) -> Iterator[Callable[[], None]]:
    """Within the block: a function that looks at the progress of `result`, and draws it where it has changed.

    Its last report is drawn in any case, when the block is left.
    """
    screen = _Bar(result.name or result.id, no_color) if sys.stderr.isatty() else _Lines(result.app.clock)
    last: Progress | None = None

    def look(*, at_end: bool = False) -> None:
        nonlocal last
        now = result.progress
        if now is not None and (now != last or at_end):
            last = now
            screen.draw(now, at_end=at_end)

    try:
        look()
        yield look
        look(at_end=True)
    finally:
        screen.close()


def line_of(progress: Progress) -> str:
    """A report as a line: `450 of 1,000 (45 %), 12 s left: importing`."""
    if progress.total is None:
        text = f"{progress.done:,}"
    else:
        text = f"{progress.done:,} of {progress.total:,}"
        if progress.total > 0:
            text += f" ({progress.done * 100 / progress.total:.0f} %)"
    if progress.eta_s:
        text += f", {span(progress.eta_s)} left"
    return f"{text}: {printable(progress.note)}" if progress.note else text


class _Lines:
    """A line a second at most: this is read later, or by a program."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = float("-inf")
        self._last = ""

    def draw(self, progress: Progress, *, at_end: bool) -> None:
        line, now = line_of(progress), self._clock.monotonic()
        if line != self._last and (at_end or now >= self._next):
            self._last, self._next = line, now + LINES_S
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def close(self) -> None: ...


class _Bar:
    """A bar of rich, from the first report on."""

    def __init__(self, name: str, no_color: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"), TimeElapsedColumn(), TextColumn("{task.fields[note]}", markup=False),
        )  # fmt: skip
        self._bars = Bars(*columns, console=Console(stderr=True, highlight=False, no_color=no_color or None))
        self._name = printable(name)
        self._begun = False

    def draw(self, progress: Progress, *, at_end: bool) -> None:
        left = f"{span(progress.eta_s)} left" if progress.eta_s and not at_end else ""
        fields: dict[str, Any] = {"left": left, "note": printable(progress.note)}
        if not self._begun:
            self._begun = True
            self._bars.start()
            self._bar = self._bars.add_task(self._name, total=progress.total, **fields)
        self._bars.update(self._bar, completed=progress.done, total=progress.total, **fields)

    def close(self) -> None:
        if self._begun:
            self._bars.stop()
