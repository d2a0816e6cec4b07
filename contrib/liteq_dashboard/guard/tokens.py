"""Viewers by their tokens, of a file as `liteq.utils.token_file` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.token_file import WORK, Entry, found_by, hash_of, read_token_file
from liteq_dashboard.access import Viewer

__all__ = ["Tokens"]


class Tokens:
    """The viewers of a file, by their tokens, of which only the hashes are kept."""

    def __init__(self, viewers: Mapping[str, Viewer] | None = None) -> None:
        self._viewers = {hash_of(token): viewer for token, viewer in (viewers or {}).items()}

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Read the file. Raises ImproperlyConfigured where others may read it, and for what is no such file."""
        return cls({entry.token: _viewer(entry) for entry in read_token_file(path, needed=("name", "rights"))})

    def viewer(self, token: str) -> Viewer | None:
        """The viewer of `token`; takes the same time for any that is none."""
        return found_by(token, self._viewers)

    def named(self, name: str) -> Viewer | None:
        """The first viewer of that name."""
        return next((viewer for viewer in self._viewers.values() if viewer.name == name), None)

    def __bool__(self) -> bool:
        return bool(self._viewers)


def _viewer(entry: Entry) -> Viewer:
    fields = entry.fields
    rights = [fields["rights"]] if isinstance(fields["rights"], str) else fields["rights"]
    try:
        return Viewer(fields["name"], [right for right in rights if right != WORK], fields.get("queues"))
    except ValueError as exc:
        raise ImproperlyConfigured(f"{entry.where}: {exc}") from None
