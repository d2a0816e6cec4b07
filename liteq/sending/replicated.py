"""Calls that return when Litestream says that their commit is at the remote (docs/adr/0046).

A message that asks for it has a flag, which travels with it through canvases, middleware and bulk. Whoever writes it
for a caller does so through `written` or `confirmed`. What a worker writes by itself (a retry, the next link of a
chain, a run of beat) waits for nobody: no caller is told that it is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from typing import Any, TypeVar

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured, NotReplicated
from liteq.message import Batch, Flag, Message

__all__ = ["asked_for", "confirmed", "replication", "written"]

T = TypeVar("T")


def replication(flags: int, options: Mapping[str, Any]) -> int:
    """The flags of a task's messages, as the option `replicated` of one call changes them. Raises TypeError."""
    wanted = options.get("replicated")
    if wanted is None:
        return flags
    if not isinstance(wanted, bool):
        raise TypeError(f"replicated is True or False, not {wanted!r:.80}")
    return flags | Flag.REPLICATED if wanted else flags & ~Flag.REPLICATED


def asked_for(messages: Iterable[Message]) -> bool:
    """Whether one of `messages` waits for its copy."""
    return any(message.flags & Flag.REPLICATED for message in messages)


def written(app: App, batch: Batch, again: Collection[str] = ()) -> list[str]:
    """Write `batch`, as `Storage.enqueue`; where a message of it asks for that, wait for its copy. Raises as that and
    as `confirmed`.
    """
    return confirmed(app, batch.messages, lambda: app.storage.enqueue(batch, again=again))


def confirmed(app: App, messages: Iterable[Message], write: Callable[[], T]) -> T:
    """Write `messages` by `write`, and wait for their copy where one of them asks for that; what `write` returns.

    Raises ImproperlyConfigured or a StorageError before it writes where no copy would be made, and NotReplicated after
    it where `replicated_timeout` was too short.
    """
    ids = [message.id for message in messages if message.flags & Flag.REPLICATED]
    if not ids:
        return write()
    storage, conf = app.storage, app.conf
    if not storage.takes_parts():
        raise ImproperlyConfigured(
            "replicated=True cannot be a part of this transaction, which is of another database: the message is in the "
            "queue only after it. Nothing was sent; send it when the transaction has committed"
        )
    with closing(storage.driver.replicator(conf.litestream_socket)) as replicator:
        result = write()
        try:
            replicator.wait(conf.replicated_timeout)
        except NotReplicated as exc:
            exc.ids = ids
            raise
    return result
