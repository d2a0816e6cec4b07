"""Keys of limits, of turns and of uniqueness as a person may see them: they are made of arguments.

Without the right `payloads` a key is cut to what the code says; with it, it is hidden where it quotes an argument that
is sensitive.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from liteq.context import App
from liteq.context.display import REDACTED
from liteq.monitor.access.sight import Sight
from liteq.monitor.messages import masked
from liteq.storage.limits.rules import Rules
from liteq.storage.reading.inspect import Record
from liteq.utils.records import NamedTuple

__all__ = ["Bearer", "Sent", "is_declared", "is_plain", "shown_key"]

_NAMED: Final = ("task:", "queue:")  # behind these stands a name of the code


class Sent(Protocol):
    """A message that bears a key: a list's line, a record, one that has a place."""

    @property
    def id(self) -> str: ...
    @property
    def task(self) -> str: ...


class Bearer(NamedTuple):
    """A message that bears a key, as a list knows it: the rest is read where its task hides something."""

    id: str
    task: str


def is_plain(key: str) -> bool:
    """Whether a key is a name of the code, or a pattern, and so has no argument in it."""
    kind, _, rest = key.partition(":")
    return "*" in key or (f"{kind}:" in _NAMED and ":" not in rest)


def is_declared(rules: Rules, key: str) -> bool:
    """Whether the code itself says this key."""
    rule = rules.by_key.get(key)
    return rule is not None and rule.declared is not None


def shown_key(app: App, key: str, see: Sight, sent: Sent | None = None, *, is_declared: bool = False) -> str:
    """`key`, as it may be shown: with `***` in place of what is hidden.

    `sent` is a message that bears it; `is_declared`: the code itself says this key.
    """
    if is_declared or is_plain(key):
        return key
    if not see.payloads:
        return _cut(key)
    return key if sent is None else masked(app, sent.task, key, lambda: _record(app, sent))


def _record(app: App, sent: Sent) -> Record | None:
    return sent if isinstance(sent, Record) else app.storage.reader.find(sent.id)


def _cut(key: str) -> str:
    """A key without what stands in it for arguments: "user:***", "task:pay:***", of a unique call "pay(***)"."""
    task, opens, _ = key.partition("(")
    if opens and ":" not in task:
        return f"{task}({REDACTED})"
    parts = key.split(":")
    names = 2 if f"{parts[0]}:" in _NAMED else 1
    return REDACTED if len(parts) == 1 else ":".join([*parts[:names], REDACTED])


def key_document(app: App, key: str, see: Sight, sent: Sent | None, *, is_declared: bool) -> dict[str, Any]:
    """{"key", "hidden"}: as it is shown, and whether something of it is hidden."""
    shown = shown_key(app, key, see, sent, is_declared=is_declared)
    return {"key": shown, "hidden": shown != key}
