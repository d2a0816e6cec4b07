"""Notes of what a child executes at this moment, in memory that its parent sees: they tell to whom its end is due.

The loop notes each step of a coroutine before it runs, and each of its threads the task that it runs. Whatever becomes
of the process, the note is there.
"""

from __future__ import annotations

from liteq.utils.records import NamedTuple
from liteq.worker.pool.page import Page

__all__ = ["LOOP", "STEPS", "THREADS", "Now", "now_in", "thread_cell"]

LOOP, STEPS = 1, 2  # the cells of the token whose coroutine takes a step, and of the number of steps
THREADS = 8  # in which a child runs what is no coroutine
_FIRST_THREAD = 8


class Now(NamedTuple):
    """The token whose coroutine takes a step (0: none), the number of steps so far, and the tokens in threads."""

    in_step: int
    steps: int
    in_threads: frozenset[int]


def thread_cell(i: int) -> int:
    """The cell of the `i`th thread."""
    return _FIRST_THREAD + i


def now_in(page: Page) -> Now:
    """The notes of the child whose page this is."""
    cells = page.cells()
    with cells:
        in_threads = frozenset(cells[_FIRST_THREAD : _FIRST_THREAD + THREADS]) - {0}
        return Now(cells[LOOP], cells[STEPS], in_threads)
