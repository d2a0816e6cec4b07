"""The steps that an executor runs now, in memory that its parent sees.

A step is noted before it begins and struck off when it has ended, so whatever becomes of its process, the parent knows
what it was doing. Neither is a system call. In the other direction the parent says here that runs are to give their
leases back.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from functools import partial
from struct import Struct

from liteq.utils.records import NamedTuple

__all__ = ["SIZE", "Page", "StepNow"]

SLOTS = 20  # steps of an async body that run at once; one more is not seen
SCOPE_BYTES, NAME_BYTES, KEY_BYTES, HASH_BYTES = 200, 160, 200, 40  # agents' keys are long
HEAD = 128  # bytes before the slots; the first says that the executor is to leave, a pool may use those from the 9th on
# A token, a position, an attempt, when it began and when it must have ended, and its texts. The ordinal that makes it
# valid comes last: `pack_into` clears the slot first, and then writes in this order.
SLOT = Struct(f"=qqqdd{SCOPE_BYTES}p{NAME_BYTES}p{KEY_BYTES}p{HASH_BYTES}pQ")
SIZE = HEAD + SLOTS * SLOT.size
ORDINAL = Struct("=Q")
ORDINAL_AT = SLOT.size - ORDINAL.size
NOWHERE = -1


class StepNow(NamedTuple):
    """A step that is running: of the run leased under `token`, at its place, since when, until when.

    Times are monotonic seconds; `deadline` is 0.0 where there is none. A text too long for its field is cut. `whole` is
    False then: it shows what runs, but not exactly where.
    """

    token: int
    scope: str
    pos: int
    name: str
    attempt: int
    started: float
    deadline: float
    key: str | None = None
    arghash: bytes | None = None
    whole: bool = True


class Page:
    """The notes of one executor, and the wish of its parent; in memory that both see, else in this process alone.

    One thread writes the steps, and another process may read them at any moment: it gets a step whole, or not at all.
    """

    def __init__(self, *, shared: bool, fd: int = -1) -> None:
        """`shared` with the processes that are forked from this one, or with those that have `fd`, of `SIZE` bytes."""
        self._memory: mmap.mmap | bytearray = mmap.mmap(fd, SIZE) if shared else bytearray(SIZE)
        self.token = 0  # of the lease whose run is executed
        self._free = list(range(SLOTS - 1, -1, -1))
        self._own = tuple(self._free)
        self._ordinal = 0

    # -- the executor ------------------------------------------------------------------------------------------------

    def begin(
        self,
        scope: str,
        pos: int,
        name: str,
        attempt: int,
        timeout_s: float | None,
        key: str | None = None,
        arghash: bytes | None = None,
    ) -> int:
        """Note a step that is about to run for `timeout_s` seconds at most (None: for ever); its slot, for `end`."""
        free = self._free
        if not free:
            return NOWHERE
        self._ordinal = ordinal = self._ordinal + 1
        now = time.monotonic()
        until = 0.0 if timeout_s is None else now + timeout_s
        slot = free.pop()
        SLOT.pack_into(
            self._memory, HEAD + slot * SLOT.size,
            self.token, pos, attempt, now, until,
            scope.encode(), name.encode(), key.encode() if key else b"", arghash or b"", ordinal,
        )  # fmt: skip
        return slot

    def end(self, slot: int) -> None:
        """Strike off the step in `slot`."""
        if slot != NOWHERE:
            ORDINAL.pack_into(self._memory, HEAD + slot * SLOT.size + ORDINAL_AT, 0)
            self._free.append(slot)

    def part(self, i: int, n: int) -> Page:
        """The `i`th of `n` pages in this one's memory, each for a thread of its own; what they note is read here."""
        page = Page.__new__(Page)
        page._memory, page.token, page._ordinal = self._memory, 0, 0
        page._free = list(range(SLOTS // n * i, SLOTS // n * (i + 1)))
        page._own = tuple(page._free)
        return page

    def cells(self) -> memoryview[int]:
        """The head, in cells of 8 bytes. The first is the page's; to be released before the page is closed."""
        return memoryview(self._memory)[:HEAD].cast("q")

    def clear(self) -> None:
        """Strike off all steps: the run has been left."""
        for slot in set(self._own).difference(self._free):
            self.end(slot)

    @property
    def leaving(self) -> Callable[[], int]:
        """Says, true or false, whether a run is to give its lease back: asked before each step, so in C throughout."""
        return partial(self._memory.__getitem__, 0)

    # -- the parent --------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Have the run that is being executed give its lease back after the step in progress, and each later one."""
        self._memory[0] = 1

    def steps(self) -> list[StepNow]:
        """The steps that run now, those that began first coming first."""
        found = []
        for slot in range(SLOTS):
            at = HEAD + slot * SLOT.size
            while any(before := self._memory[at + ORDINAL_AT : at + SLOT.size]):
                fields = SLOT.unpack_from(self._memory, at)
                if self._memory[at + ORDINAL_AT : at + SLOT.size] == before:  # not another one meanwhile
                    found.append(fields)
                    break
        return [_step(*fields) for fields in sorted(found, key=lambda fields: fields[-1])]

    def close(self) -> None:
        """Give the memory back."""
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()


def _step(
    token: int, pos: int, attempt: int, started: float, deadline: float,
    scope: bytes, name: bytes, key: bytes, arghash: bytes, _ordinal: int,
) -> StepNow:  # fmt: skip
    whole = len(scope) < SCOPE_BYTES - 1 and len(name) < NAME_BYTES - 1 and len(key) < KEY_BYTES - 1
    texts = [text.decode("utf-8", "replace") for text in (scope, name, key)]
    place = (token, texts[0], pos, texts[1], attempt, started, deadline)
    return StepNow(*place, texts[2] or None, arghash or None, whole)
