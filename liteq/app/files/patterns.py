"""The files that `--db` names: paths, and globs of which the files are looked up again and again."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from urllib.parse import unquote

from liteq.exceptions import ImproperlyConfigured
from liteq.settings.schemes import without_password
from liteq.storage.engines import is_beside
from liteq.utils.misspelt import nearest

__all__ = ["Patterns", "stamp_of"]

SQLITE = ("sqlite:///", "liteq:///")


class Patterns:
    """Paths and globs, as given by `--db`. Raises ImproperlyConfigured where one names no file, or no folder.

    A file of a glob is taken once something is in it: who makes it may not have begun. A path without a glob is made.
    """

    def __init__(self, given: Sequence[str]) -> None:
        self._given = [os.path.abspath(os.path.expanduser(_path(one))) for one in given]
        for one in self._given:
            _check_folder(one)

    def __str__(self) -> str:
        return ", ".join(self._given)

    def find(self) -> list[str]:
        """The files that are there now, without symbolic links, each once."""
        found: dict[str, None] = {}
        for one in self._given:
            if glob.has_magic(one):
                paths = sorted(path for path in glob.glob(one, recursive=True) if _is_taken(path))
            else:
                paths = [one]
            found.update(dict.fromkeys(map(os.path.realpath, paths)))
        return list(found)

    def folders(self, files: Sequence[str]) -> set[str]:
        """The folders in which files of these patterns are, and new ones may come."""
        found = {os.path.dirname(path) for path in files}
        for one in self._given:
            above = os.path.dirname(one)
            found.update(glob.glob(above, recursive=True) if glob.has_magic(above) else [above])
            while glob.has_magic(above):
                above = os.path.dirname(above)
                found.add(above)
        return {os.path.realpath(folder) for folder in found if not glob.has_magic(folder)}


def stamp_of(path: str) -> tuple[int, ...]:
    """The marks that change when somebody writes to the file: times and sizes of it and its log."""
    found: list[int] = []
    for one in (path, f"{path}-wal"):
        try:
            status = os.stat(one)
        except OSError:
            found += (0, 0)
        else:
            found += (status.st_mtime_ns, status.st_size)
    return tuple(found)


def _path(text: str) -> str:
    if "://" not in text:
        if text:
            return text
        raise ImproperlyConfigured("--db is empty: name a file, or a glob such as 'tenants/*.db'")
    scheme = next((one for one in SQLITE if text.startswith(one)), None)
    if scheme is None:
        raise ImproperlyConfigured(
            f"--db {without_password(text)!r} is no file: name its path, or a glob such as 'tenants/*.db'"
        )
    return unquote(text.removeprefix(scheme))


def _is_taken(path: str) -> bool:
    if is_beside(path):
        return False
    try:
        return os.path.isfile(path) and os.stat(path).st_size > 0
    except OSError:  # it has gone
        return False


def _check_folder(path: str) -> None:
    """Refuse a path that is a folder, and one whose folder, as far as it is no glob, is not there."""
    if os.path.isdir(path):
        meant = os.path.join(path, "*.db")
        raise ImproperlyConfigured(f"--db: {path} is a folder: name a file in it, or its files as '{meant}'")
    folder = os.path.dirname(path)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    if os.path.isdir(folder):
        return
    there = os.path.dirname(folder)
    names = [entry.name for entry in os.scandir(there) if entry.is_dir()] if os.path.isdir(there) else []
    near = nearest(os.path.basename(folder), names)
    meant = f"; did you mean {os.path.join(there, near)}?" if near else ": make it, or name another"
    raise ImproperlyConfigured(f"--db: there is no folder {folder}{meant}")
