"""Disks that fail: a VFS below SQLite that raises at a chosen operation, and one that loses what was not synced."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from liteq.storage.sqlite.apsw_driver import ApswDriver
from liteq.storage.storage import Storage

__all__ = ["FAULTS", "FaultyVFS", "PowerVFS", "storage_on"]

SECTOR = 512  # what a disk writes whole, or not at all

# What can go wrong, at which operation, and the code that SQLite hands on.
FAULTS: dict[str, tuple[str, int]] = {
    "EIO on read": ("read", apsw.SQLITE_IOERR_READ),
    "EIO on write": ("write", apsw.SQLITE_IOERR_WRITE),
    "EIO on sync": ("sync", apsw.SQLITE_IOERR_FSYNC),
    "ENOSPC": ("write", apsw.SQLITE_FULL),
    "short write": ("write", apsw.SQLITE_IOERR_WRITE),
}


def storage_on(vfs: str, path: Path, driver: type[ApswDriver] = ApswDriver, **options: Any) -> Storage:
    """A storage whose file is reached through the VFS of that name alone."""
    options.setdefault("clock", None)
    clock = options.pop("clock")
    return Storage(driver(f"sqlite:///{path}", str(path), vfs=vfs, **options), clock=clock)


class FaultyVFS(apsw.VFS):
    """Fails once, at the `at`-th operation of the kind that the fault named by `arm` is about."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault = ""
        self.left = 0
        self.fired = 0
        super().__init__(name, base="")

    def arm(self, fault: str, at: int) -> None:
        self.fault, self.left, self.fired = fault, at, 0

    def disarm(self) -> None:
        self.fault = ""

    def due(self, operation: str) -> bool:
        """Count an operation; whether this is the one that fails."""
        if not self.fault or FAULTS[self.fault][0] != operation:
            return False
        self.left -= 1
        if self.left != 0:
            return False
        self.fired += 1
        return True

    def error(self) -> Exception:
        return apsw.exception_for(FAULTS[self.fault][1])

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _FaultyFile(self, name, flags)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, name: Any, flags: list[int]) -> None:
        self.vfs = vfs
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        if self.vfs.due("read"):
            raise self.vfs.error()
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:
        if self.vfs.due("write"):
            if self.vfs.fault == "short write":
                super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise self.vfs.error()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self.vfs.due("sync"):
            raise self.vfs.error()
        # Not handed on: no machine is switched off here, and the disk of the tests is slow.


class _Image:
    """A file as the disk has it: what was synced, and the writes since, which may or may not have arrived."""

    def __init__(self, durable: bytes) -> None:
        self.durable = bytearray(durable)
        self.pending: list[tuple[int, bytes] | int] = []

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def after_power_loss(self, rng: random.Random) -> bytes:
        """The content when the machine is on again: any of the unsynced sectors, the others as they were."""
        left = bytearray(self.durable)
        chance = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        for change in self.pending:
            if isinstance(change, int):
                if rng.random() < chance:
                    _apply(left, change)
                continue
            offset, data = change
            for start in range(0, len(data), SECTOR):
                if rng.random() < chance:
                    _apply(left, (offset + start, data[start : start + SECTOR]))
        return bytes(left)


def _apply(image: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del image[change:]
        return
    offset, data = change
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


class PowerVFS(apsw.VFS):
    """Knows of each file what was synced. `on_operation` is called before each write, sync and truncation."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.images = {str(p): _Image(p.read_bytes()) for p in folder.iterdir() if not p.name.endswith("-shm")}
        self.on_operation: Callable[[], None] = lambda: None
        super().__init__(name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _PowerFile(self, path, name, flags)

    def power_loss(self, target: Path, rng: random.Random) -> None:
        """Write to the folder `target` what would be found if the machine were switched off now."""
        target.mkdir()
        for path, image in self.images.items():
            (target / Path(path).name).write_bytes(image.after_power_loss(rng))


class _PowerFile(apsw.VFSFile):
    def __init__(self, vfs: PowerVFS, path: str, name: Any, flags: list[int]) -> None:
        self.vfs = vfs
        self.image = vfs.images.setdefault(path, _Image(b""))
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        self.vfs.on_operation()
        self.image.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self.vfs.on_operation()
        self.image.pending.append(size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self.vfs.on_operation()
        self.image.sync()
