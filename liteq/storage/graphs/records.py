"""The rows of checkpoints as verbs take and return them, and the hashes in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from liteq.utils.records import NamedTuple

__all__ = [
    "BLOB",
    "EMPTY",
    "HASH",
    "LIST",
    "Blob",
    "Checkpoint",
    "Gone",
    "Key",
    "Loaded",
    "Value",
    "Write",
    "hashes_of",
]

# The forms of a value that are no serializer's words: the data is the hash of a blob; hashes, of a list's elements
# behind those that it keeps; the channel is empty.
BLOB: Final = "@"
LIST: Final = "[]"
EMPTY: Final = ""
HASH: Final = 22  # letters of a hash


class Gone(Exception):
    """Raised where a value is built on one that is not there any more: it is to be written whole."""


class Key(NamedTuple):
    """The place of a checkpoint."""

    thread: str
    ns: str
    id: str


class Checkpoint(NamedTuple):
    """A checkpoint without its values. `versions`: JSON, of its channels; `form`: the serializer's word for `body`."""

    thread: str
    ns: str
    id: str
    parent: str | None
    run: str | None  # run_id of its metadata
    versions: bytes
    form: str
    body: bytes

    @property
    def key(self) -> Key:
        return Key(self.thread, self.ns, self.id)


class Value(NamedTuple):
    """The value of a channel at a version. Of a list: the first `keep` elements of that at `base`, and its own."""

    channel: str
    version: str
    form: str
    data: bytes
    base: str | None = None
    keep: int = 0


class Write(NamedTuple):
    """A pending write of a task."""

    task: str
    idx: int
    path: str
    channel: str
    form: str
    data: bytes


class Blob(NamedTuple):
    """A value, or an element of a list. `form`: the serializer's word."""

    form: str
    data: bytes


class Loaded(NamedTuple):
    """A checkpoint with all that it holds. `values`: by channel; a list's data are all of its hashes."""

    checkpoint: Checkpoint
    values: Mapping[str, Value]
    writes: Sequence[Write]
    blobs: Mapping[str, Blob]


def hashes_of(form: str, data: bytes) -> list[str]:
    """The hashes in the data of a value or write, as often as they are there."""
    if form not in (BLOB, LIST):
        return []
    text = data.decode()
    return [text[at : at + HASH] for at in range(0, len(text), HASH)]
