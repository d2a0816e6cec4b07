"""The check of a log (`-wal`): do its frames, which SQLite reads up to the first that does not fit, go on behind that?

SQLite takes a frame with a wrong checksum for the end of the log, without a word: after damage in its middle, what was
committed behind it is lost, and `PRAGMA integrity_check` finds the rest sound. The format: sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
import struct
import time

from liteq.exceptions import StorageCorrupt
from liteq.utils.records import NamedTuple

__all__ = ["LogState", "check_log", "refuse_damaged_start"]

HEAD = struct.Struct(">8I")  # magic, version, page size, checkpoint number, two salts, two sums
FRAME = struct.Struct(">6I")  # page number, size after a commit, two salts, two sums
SUMMED = 8  # bytes of a frame's head that its sums are about, beside its page
MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # to the byte order of the sums
CHUNK = 1 << 20
TRIES = 3  # a writer may be at work: only a fault that stays is one
PAUSE_S = 0.05


class LogState(NamedTuple):
    """`frames`: how many count. `problem`: the damage that hides more of them; "" for none."""

    frames: int
    problem: str = ""


def check_log(path: str) -> LogState:
    """The state of the log at `path`. Reads it whole; one that is not there has no frames."""
    state = _read(path)
    for _ in range(TRIES - 1):
        if not state.problem:
            break
        time.sleep(PAUSE_S)
        again = _read(path)
        state = again if again.problem != state.problem else state
    return state


def refuse_damaged_start(path: str) -> None:
    """Raises StorageCorrupt where the database `path` seems to be empty because the start of its log is damaged.

    The first transaction makes the tables. Where that is in the log alone, and a part of it is damaged, SQLite finds an
    empty file, and the next write would begin the log anew: all that was committed would be gone. Reads no more than
    the first transaction of a log that is sound.
    """
    log = f"{path}-wal"
    if _read(log, whole=False).problem and (problem := check_log(log).problem):
        raise StorageCorrupt(
            f"{log} is damaged where the tables are made ({problem}): nothing was written. Restore a backup; or delete "
            f"{path}, {log} and {path}-shm to begin a new queue without what was in it"
        )


def _read(path: str, *, whole: bool = True) -> LogState:
    try:
        data = memoryview(_bytes(path))
    except OSError:
        return LogState(0)
    if len(data) < HEAD.size:
        return LogState(0)
    magic, _, page_size, _, *salts_and_sums = HEAD.unpack_from(data)
    salts, sums = salts_and_sums[:2], salts_and_sums[2:]
    order = MAGIC.get(magic)
    if order is None or _sums(data[: HEAD.size - 8], order, (0, 0)) != tuple(sums):
        return LogState(0, "its head is damaged, so nothing in it is read")
    return _frames(data, order, page_size, salts, (sums[0], sums[1]), whole=whole)


def _bytes(path: str) -> bytes:
    """The content. SQLite's locks are on the database and its `-shm`; closing the log drops none of them."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(fd, CHUNK), b""))
    finally:
        os.close(fd)


def _frames(
    data: memoryview, order: str, page_size: int, salts: list[int], sums: tuple[int, int], *, whole: bool
) -> LogState:
    size, good, broken = FRAME.size + page_size, 0, False
    for n, at in enumerate(range(HEAD.size, len(data) - size + 1, size)):
        _, commit, salt_1, salt_2, *own = FRAME.unpack_from(data, at)
        current = [salt_1, salt_2] == salts
        if broken:
            if current and commit:
                return LogState(good, f"frame {good + 1} is damaged, and what was committed behind it is lost")
            continue
        sums = _sums(data[at : at + SUMMED], order, sums)
        sums = _sums(data[at + FRAME.size : at + size], order, sums)
        broken = not current or list(sums) != own
        good = n + (not broken)
        if commit and not broken and not whole:
            break
    return LogState(good)


def _sums(data: memoryview, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for a, b in zip(words[::2], words[1::2], strict=True):
        first = (first + a + second) & 0xFFFFFFFF
        second = (second + b + first) & 0xFFFFFFFF
    return first, second
