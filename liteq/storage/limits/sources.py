"""The messages that are held and may start, as one claim comes to them: by key, in the turns of their lines."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush
from typing import Final

from liteq.storage.driver import Row, Transaction
from liteq.storage.limits import lines
from liteq.storage.limits.ledger import Lack
from liteq.storage.limits.rules import BEGUN

__all__ = ["PROBES", "Line", "Rounds", "Source"]

PROBES: Final = 64  # lines of one key whose first message lacks another, looked at by one claim; the rest waits
LARGEST: Final = 64  # messages of a line that are read at once
LEAST: Final = 16  # lines


class Rounds:
    """The turns of lines, by queue and priority: one that was served goes behind those of its round.

    One that had to wait for long does not catch up: it joins the round of now.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._now: dict[tuple[str, int], int] = {}
        self._served: dict[tuple[str, str, int], int] = {}

    def now(self, queue: str, priority: int) -> int:
        """The turn that was served last."""
        place = (queue, priority)
        if place not in self._now:
            self._now[place] = lines.round_of(self._tx, queue, priority)
        return self._now[place]

    def serve(self, queue: str, line: Line) -> None:
        """Give `line` its next turn."""
        now = self._now[queue, line.priority] = max(self.now(queue, line.priority), line.turn)
        line.turn = self._served[line.key, queue, line.priority] = now + 1

    def write(self) -> None:
        """Write the turns of what was served."""
        if self._served:
            lines.serve(self._tx, [(*line, turn) for line, turn in self._served.items()])
            for queue, priority in {line[1:] for line in self._served}:
                lines.keep_round(self._tx, queue, priority, self._now[queue, priority])


class Line:
    """A line that a claim looks at: its first messages, the oldest last."""

    __slots__ = ("heads", "key", "more", "page", "priority", "taken", "turn")

    def __init__(self, key: str, priority: int, turn: int) -> None:
        self.key, self.priority, self.turn = key, priority, turn
        self.heads: list[Row] = []
        self.page, self.taken, self.more = 1, 0, True


class Source:
    """The lines of one queue that wait for the key `waits` (None: for none).

    `want`: how many messages the claim may take; `taken`: the row numbers of those that it has, which are in their
    lines until it ends.
    """

    def __init__(
        self, tx: Transaction, queue: str, waits: str | None, rounds: Rounds, want: int, taken: AbstractSet[int]
    ) -> None:
        self.waits = waits
        self.lack: Lack | None = None  # of the key itself: nothing more of it starts now
        self.probes = 0
        self._tx, self._queue, self._rounds, self._want, self._taken = tx, queue, rounds, want, taken
        self._lines: list[tuple[int, int, str, Line]] = []  # a heap
        self._known: set[tuple[str, int]] = set()
        self._strays: dict[tuple[str, int], Line] = {}
        self._more = True

    @property
    def line(self) -> Line:
        """The line of the head."""
        return self._lines[0][3]

    def head(self) -> Row | None:
        """The message that starts next, if it may; lines that are empty leave. None where there is none."""
        while self._lines or self._load():
            line = self.line
            if line.heads or self._fill(line):
                return line.heads[-1]
            heappop(self._lines)
            lines.leave(self._tx, line.key, self._queue, line.priority)
        return None

    def _load(self) -> bool:
        if not self._more:
            return False
        page = max(self._want, LEAST) + len(self._known)
        rows = lines.waiting(self._tx, self.waits, self._queue, page)
        self._more = len(rows) >= page
        for key, priority, turn in rows:
            if (key, priority) not in self._known:
                self._known.add((key, priority))
                self._lines.append((-priority, turn, key, Line(key, priority, turn)))
        heapify(self._lines)
        return bool(self._lines)

    def _fill(self, line: Line) -> bool:
        """Read more of `line`: of a long one little at first, as most lines have a place for one message."""
        if not line.more:
            return False
        limit = line.page + line.taken
        rows = lines.heads(self._tx, line.key, self._queue, line.priority, limit)
        line.more = len(rows) >= limit
        line.page = min(line.page * 4, LARGEST)
        line.heads = [row for row in reversed(rows) if row[0] not in self._taken]
        return bool(line.heads)

    def served(self) -> None:
        """Note that the head was taken."""
        line = self.line
        line.heads.pop()
        line.taken += 1
        self._rounds.serve(self._queue, line)
        if self.waits is not None and line.key.removeprefix(BEGUN) != self.waits:
            self._strays[line.key, line.priority] = line
        heappop(self._lines)
        heappush(self._lines, (-line.priority, line.turn, line.key, line))

    def strays(self) -> Iterator[Line]:
        """The lines that were served, and whose new heads may not need the key, which is not their own.

        Those that are empty leave: what came into such a line later would wait for that key, and not for what it lacks.
        """
        for line in self._strays.values():
            line.more = True  # this claim may have held more in it
            if line.heads or self._fill(line):
                yield line
            else:
                lines.leave(self._tx, line.key, self._queue, line.priority)

    def skip(self) -> None:
        """Note that the head has left its line."""
        self.line.heads.pop()

    def only_begun(self) -> bool:
        """Leave what needs a token: whether there are runs that go on, which need none."""
        self._lines = [one for one in self._lines if one[2].startswith(BEGUN)]
        self._more = False
        heapify(self._lines)
        return bool(self._lines)

    def move(self, key: str) -> bool:
        """Have the line of the head wait for another key; whether there may be more here for this claim."""
        line = heappop(self._lines)[3]
        lines.move(self._tx, line.key, self._queue, line.priority, key)
        self._strays.pop((line.key, line.priority), None)
        self.probes += 1
        return self.probes < PROBES
