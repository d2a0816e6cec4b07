"""A batch as bytes: the one form in which it crosses a pipe, waits in an outbox, or comes by a gateway.

    {"version": 1, "messages": [{"id": ..., "task": ..., "payload": ...}], "groups": [{"id": ..., "size": ...}]}

A field that has its default is left out, and one that is not there has its default. So a field may be added without a
new version: a reader that does not know it takes every message that does not use it, and refuses the others. The
version changes when what is written means something else. Fields of bytes are text, a character for each byte.

Rows without a version are those that the outbox wrote before there was one: the same form, every field written out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING
from operator import attrgetter
from typing import Any, Final

import orjson

from liteq.exceptions import BadMessage
from liteq.message import Batch, Exclusion, Group, Message, RunSpec
from liteq.utils.records import fields_of

__all__ = ["VERSION", "again_in", "dump_batch", "load_batch", "queue_in"]

VERSION: Final = 1
READABLE = (0, VERSION)
BYTES = frozenset({"payload", "options"})


class _Form:
    """How objects of a dataclass are written: its fields, in their order, and the defaults that are left out."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        fields = fields_of(kind)
        self.names = tuple(fields)
        self.defaults = tuple(field.default for field in fields.values())
        self.required = frozenset(name for name, field in fields.items() if field.default is MISSING)
        self.values = attrgetter(*self.names)
        self.bytes = BYTES.intersection(self.names)

    def dump(self, one: Any) -> dict[str, Any]:
        """The fields of `one` that have not their default."""
        found = {
            name: value
            for name, value, default in zip(self.names, self.values(one), self.defaults, strict=True)
            if value != default
        }
        for name in self.bytes:
            if name in found:
                found[name] = found[name].decode("latin-1")  # any bytes there and back
        return found

    def load(self, given: dict[str, Any]) -> Any:
        """The object of a document, which it changes. Raises BadMessage for a field that is not known or not there."""
        for name in self.bytes:
            if given.get(name) is not None:
                given[name] = given[name].encode("latin-1")
        try:
            if given.get("run") is not None:
                run = given["run"]
                budget = tuple(tuple(part) for part in run.get("budget", ()))
                given["run"] = RunSpec(**{**run, "tags": tuple(run["tags"]), "budget": budget})
            if given.get("unique") is not None:
                given["unique"] = Exclusion(**given["unique"])
            if "tags" in given:
                given["tags"] = tuple(given["tags"])
            return self.kind(**given)
        except TypeError:
            kind = self.kind.__name__.lower()
            unknown = given.keys() - set(self.names)
            if unknown:
                raise BadMessage(
                    f"a {kind} has the field {min(unknown)!r}, which this liteq does not know: a newer one wrote it; "
                    "update liteq here"
                ) from None
            missing = min(self.required - given.keys())
            raise BadMessage(f"a {kind} lacks its {missing!r}: nothing of liteq's wrote it") from None


MESSAGE, GROUP = _Form(Message), _Form(Group)


def dump_batch(batch: Batch, *, again: Collection[str] = (), queue: str = "") -> bytes:
    """`batch` as bytes, for `load_batch`; `again`: ids in it under which a finished message runs again (`again_in`).

    `queue`: where it is to go, in place of the app's own (`queue_in`).
    """
    messages, groups = [MESSAGE.dump(one) for one in batch.messages], [GROUP.dump(one) for one in batch.groups]
    more: dict[str, Any] = {"again": sorted(again)} if again else {}
    if queue:
        more["queue"] = queue
    return orjson.dumps({"version": VERSION, "messages": messages, "groups": groups, **more})


def again_in(data: bytes) -> list[str]:
    """The ids under which a finished message runs again, of a batch that `load_batch` can read."""
    found: list[str] = orjson.loads(data).get("again", [])
    return found


def queue_in(data: bytes) -> str:
    """The queue to which a batch is to go that `load_batch` can read; "" for the app's own."""
    found: str = orjson.loads(data).get("queue", "")
    return found


def load_batch(data: bytes) -> Batch:
    """The batch that `dump_batch` wrote, here or in another process, of this version or an older one.

    Raises BadMessage, which says whether a newer liteq wrote it or nothing of liteq's did.
    """
    try:
        document = orjson.loads(data)
        version, messages, groups = document.get("version", 0), document["messages"], document["groups"]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise BadMessage(f"{len(data)} bytes cannot be read as a batch: nothing of liteq's wrote them") from None
    if version not in READABLE:
        raise BadMessage(f"a batch of version {version!r}; this liteq reads up to {VERSION}: update liteq here")
    try:
        return Batch([MESSAGE.load(one) for one in messages], [GROUP.load(one) for one in groups])
    except (AttributeError, TypeError, ValueError):
        raise BadMessage(f"{len(data)} bytes cannot be read as a batch: nothing of liteq's wrote them") from None
