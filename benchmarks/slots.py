"""Time stamps across processes: an array of doubles in a file that everybody maps.

Each task writes the monotonic clock into its slot, so every contestant is measured by the same small cost, and what was
executed can be counted. The clock is CLOCK_MONOTONIC, the same in all processes of a machine.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

__all__ = ["Slots"]

DOUBLE = struct.Struct("d")


class Slots:
    """`n` slots in `path`; created with zeros where the file does not exist. A second number counts executions."""

    def __init__(self, path: Path, n: int | None = None) -> None:
        if n is not None:
            path.write_bytes(bytes(n * 2 * DOUBLE.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.n = len(self._map) // (2 * DOUBLE.size)

    def stamp(self, i: int) -> None:
        """Note that task `i` runs now."""
        at = i * 2 * DOUBLE.size
        (count,) = DOUBLE.unpack_from(self._map, at + DOUBLE.size)
        struct.pack_into("dd", self._map, at, time.monotonic(), count + 1)

    def at(self, i: int) -> float:
        """When task `i` ran last, in seconds of the monotonic clock; 0.0 when it has not."""
        (value,) = DOUBLE.unpack_from(self._map, i * 2 * DOUBLE.size)
        return float(value)

    def times(self) -> list[float]:
        """The stamps of all slots."""
        return [v for v, _ in struct.iter_unpack("dd", self._map[:])]

    def executions(self) -> list[int]:
        """How often each task ran."""
        return [int(n) for _, n in struct.iter_unpack("dd", self._map[:])]
