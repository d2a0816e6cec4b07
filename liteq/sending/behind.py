"""The rows that come after a message, as its sender has embedded them in it, in the form of Celery's messages.

Celery's own workers send callbacks, errbacks and the next step of a chain when a task has ended. Here rows await it
before it begins: its end reaches them in the transaction that settles it, also where it is that of its process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from liteq.canvas import Signature, chain
from liteq.context import App
from liteq.exceptions import BadMessage, LeaseLost
from liteq.message import Batch, Lease
from liteq.sending.compile import Compiled, compile_behind
from liteq.serialization import decode
from liteq.serialization.embedded import is_deflated, unpacked
from liteq.utils.ids import ids_of

__all__ = ["behind", "has_embedded", "put_behind"]

EMBED: Final = b'"embed":'


def behind(id_: str, embed: Mapping[str, Any], app: App, *, root_id: str | None = None) -> Batch:
    """The rows that come after the message `id_`.

    `embed`: `callbacks`, `errbacks`, and `chain`, the rest of a chain with its next step at the end; all else in it is
    the caller's. Ids that were not given are made from `id_`: the same ones each time, so what was written before is
    found again. Raises TypeError and ValueError as `compile_signature`, and the errors of the app's publisher.
    """
    links, errbacks, steps = (
        [_signature(app, one) for one in embed.get(kind) or ()] for kind in ("callbacks", "errbacks", "chain")
    )
    rest = chain(*reversed(steps), app=app) if len(steps) > 1 else next(iter(steps), None)
    compiled = compile_behind(id_, app.publisher, links, errbacks, rest, root_id=root_id)
    return _named_after(id_, compiled)


def _signature(app: App, one: Any) -> Signature:
    if not isinstance(one, dict):
        raise TypeError(f"a part of what comes after it is no signature: {one!r:.80}")
    return Signature.from_dict(one, app)


def _named_after(id_: str, compiled: Compiled) -> Batch:
    """The batch in which each id that was made now is another, made from `id_` and its place."""
    batch = compiled.batch
    made = [node.id for node in batch.nodes() if node.id not in compiled.chosen]
    names: dict[str | None, str] = dict(zip(made, ids_of(f"behind {id_}", 0, len(made)), strict=True))

    def named(one: Any, *fields: str) -> Any:
        return replace(one, **{name: names.get(getattr(one, name), getattr(one, name)) for name in fields})

    messages = [named(m, "id", "awaits", "group_id", "root_id", "parent_id") for m in batch.messages]
    return Batch(messages, [named(g, "id", "group_id", "root_id") for g in batch.groups])


def has_embedded(lease: Lease) -> bool:
    """Whether something may come after `lease` that its options tell: a search in bytes, for each task with options."""
    return lease.options is not None and EMBED in lease.options


def put_behind(app: App, lease: Lease) -> Lease:
    """Write what comes after `lease`, which knows of it then. Raises LeaseLost, and BadMessage where it cannot be."""
    document: Mapping[str, Any] = decode(lease.options or b"{}")
    kept = document.get("celery")
    embed = kept.get("embed") if isinstance(kept, dict) else None
    if not isinstance(embed, dict):
        return lease
    if is_deflated(embed):
        try:
            embed = decode(unpacked(embed))
        except ValueError as exc:
            raise BadMessage(str(exc)) from exc
    if embed.get("chord") and lease.group_id is None:
        raise BadMessage(
            "it is a member of a chord that this queue does not have: its sender keeps results elsewhere, so "
            "its worker is one of Celery's"
        )
    try:
        batch = behind(lease.id, embed, app, root_id=lease.root_id)
    except (TypeError, ValueError, KeyError) as exc:
        raise BadMessage(f"what comes after it cannot be compiled: {exc}") from exc
    if not batch.messages:
        return lease
    found = app.storage.leases.put_behind(lease, batch)
    if found is None:
        raise LeaseLost(lease.id)
    return found
