"""Keys of the gateway: which queues and tasks a program may use, and for what. The file is the dashboard's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.monitor.access.rights import RIGHTS as PAGES
from liteq.monitor.access.rights import ROLES
from liteq.utils.misspelt import meant
from liteq.utils.records import NamedTuple
from liteq.utils.token_file import WORK, Entry, found_by, hash_of, read_token_file

__all__ = ["ANYTHING", "RIGHTS", "Key", "Keys"]

RIGHTS = ("send", WORK, "view", "cancel", "delete")
GIVEN = RIGHTS[:3]  # where an entry names none


class Key(NamedTuple):
    """A program at the gateway. `queues` and `tasks` are globs, None: all. `secret`: of signed requests."""

    name: str
    rights: frozenset[str] = frozenset(RIGHTS)
    queues: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    secret: str | None = None

    def can(self, right: str) -> bool:
        return right in self.rights

    def sees(self, queue: str) -> bool:
        """Whether it may use the queue."""
        return self.queues is None or any(fnmatchcase(queue, glob) for glob in self.queues)

    def knows(self, task: str) -> bool:
        """Whether it may use the task."""
        return self.tasks is None or any(fnmatchcase(task, glob) for glob in self.tasks)


ANYTHING = Key("local")  # without a file of keys, which only this machine's own requests are let through


class Keys:
    """The keys of a file, by their tokens, of which only the hashes are kept."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = {hash_of(token): key for token, key in keys.items()}

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read the file. Raises ImproperlyConfigured where others may read it, and for what is no such file."""
        return cls({entry.token: _key(entry) for entry in read_token_file(path)})

    def find(self, token: str) -> Key | None:
        """The key of `token`; takes the same time for any that is none."""
        return found_by(token, self._keys)


def _key(entry: Entry) -> Key:
    fields = entry.fields
    try:
        rights = _rights(_names(fields.get("rights", GIVEN)))
    except ValueError as exc:
        raise ImproperlyConfigured(f"{entry.where}: {exc}") from None
    queues, tasks = (_globs(fields.get(name)) for name in ("queues", "tasks"))
    return Key(fields["name"], rights, queues, tasks, fields.get("secret"))


def _rights(names: Iterable[str]) -> frozenset[str]:
    """The gateway's among `names`, of which others are the pages'. Raises ValueError for one that is nobody's."""
    found: set[str] = set()
    for name in names:
        if name not in ROLES and name not in {*PAGES, *RIGHTS}:
            known = list(dict.fromkeys([*RIGHTS, *PAGES, *ROLES]))
            raise ValueError(f"unknown right {name!r}{meant(name, known, 'use one of ' + ', '.join(RIGHTS))}")
        found |= ROLES.get(name, {name})
    return frozenset(found) & frozenset(RIGHTS)


def _globs(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(_names(value))


def _names(value: str | Iterable[str]) -> Iterable[str]:
    return [value] if isinstance(value, str) else value
