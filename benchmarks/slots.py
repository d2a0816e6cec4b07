"""Time stamps across processes: an array of doubles in a file that everybody maps.

Each task writes the monotonic clock into its slot, so every contestant is measured by the same small cost, and what was
executed can be counted. The clock is CLOCK_MONOTONIC, the same in all processes of a machine.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

__all__ = ["Slots", "attach"]

PAIR = struct.Struct("dd")


class Slots:
    """`n` slots in `path`; created with zeros where `n` is given. A second number counts executions."""

    def __init__(self, path: Path, n: int | None = None) -> None:
        if n is not None:
            path.touch()
            os.truncate(path, n * PAIR.size)  # a hole: slots that are not used cost nothing
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.n = len(self._map) // PAIR.size

    def stamp(self, i: int) -> None:
        """Note that task `i` runs now."""
        _, count = PAIR.unpack_from(self._map, i * PAIR.size)
        PAIR.pack_into(self._map, i * PAIR.size, time.monotonic(), count + 1)

    def put(self, i: int, value: float) -> None:
        """Put another number than the time into slot `i`."""
        PAIR.pack_into(self._map, i * PAIR.size, value, 1)

    def clear(self, n: int) -> None:
        """Forget what ran in the first `n` slots."""
        self._map[: n * PAIR.size] = bytes(n * PAIR.size)

    def at(self, i: int) -> float:
        """When task `i` ran last, in seconds of the monotonic clock; 0.0 when it has not."""
        return float(PAIR.unpack_from(self._map, i * PAIR.size)[0])

    def times(self, n: int) -> list[float]:
        """The stamps of the first `n` slots."""
        return [at for at, _ in PAIR.iter_unpack(self._map[: n * PAIR.size])]

    def executions(self, n: int) -> list[int]:
        """How often each of the first `n` tasks ran."""
        return [int(count) for _, count in PAIR.iter_unpack(self._map[: n * PAIR.size])]


def attach() -> Slots:
    """The slots that this run's environment names; what every contestant's tasks stamp."""
    return Slots(Path(os.environ["BENCH_SLOTS"]))
