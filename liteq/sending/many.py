"""Very many calls in one commit. As long as they are plain ones (plain.py), no message is made of any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from liteq import context, signals
from liteq.canvas import Signature
from liteq.context import App
from liteq.message import Batch, Message, new_id, new_ids
from liteq.sending.compile import compile_signature
from liteq.sending.options import GRAPH, OF_A_CALL, check_options
from liteq.sending.plain import NOTHING, Encode, encoder
from liteq.sending.publisher import Defaults, Publisher
from liteq.sending.replicated import confirmed, written
from liteq.utils.names import checked_id

__all__ = ["Run", "gather", "payloads_of", "send", "signatures_of"]

Run = tuple[Defaults, list[bytes]]
"""Plain calls of one task, one after the other: their encoded arguments."""


def signatures_of(app: App, name: str, calls: Iterable[Sequence[Any]]) -> Iterator[Signature]:
    """The signatures of calls of one task, which are given by their positional arguments."""
    return (Signature(name, _arguments(args), app=app) for args in calls)


def payloads_of(d: Defaults, calls: Iterable[Sequence[Any]]) -> list[bytes]:
    """The encoded arguments of plain calls, which are given likewise. Raises as `Publisher.message`."""
    encoded = encoder(d)
    return [encoded(args if type(args) is tuple else _arguments(args), NOTHING) for args in calls]


def _arguments(args: Any) -> Sequence[Any]:
    if not isinstance(args, (tuple, list)):
        raise TypeError(f"the arguments of one call are a tuple or a list, not {args!r:.80}")
    return args


def gather(publisher: Publisher, signatures: Iterator[Signature]) -> tuple[list[Run], Iterator[Signature]]:
    """The plain calls with which `signatures` begin, and the signatures from the first on that is no such call."""
    encoders: dict[str, Encode] = {}
    runs: list[Run] = []
    last, payloads = None, list[bytes]()
    for sig in signatures:
        name = sig["task"]
        if sig["options"] or sig["subtask_type"]:
            return runs, chain((sig,), signatures)
        if name != last:
            d = publisher.defaults(name)
            if not d.is_plain:
                return runs, chain((sig,), signatures)
            if name not in encoders:
                encoders[name] = encoder(d)
            last, payloads = name, []
            runs.append((d, payloads))
        payloads.append(encoders[name](sig["args"], sig["kwargs"]))
    return runs, iter(())


def send(app: App, publisher: Publisher, runs: Sequence[Run], rest: Iterator[Signature]) -> list[str]:
    """Send plain calls, and after them signatures of any kind, all or nothing; their ids.

    Raises as `Publisher.message`.
    """
    calls = [(d.kind, new_ids(len(payloads)), payloads) for d, payloads in runs]
    ids = [id_ for _, made, _ in calls for id_ in made]
    first = next(rest, None)
    if first is None and (not ids or app.storage.calls.send_many(calls)):
        return ids
    batch = Batch(
        [
            Message(id_, name, payload, queue, priority, flags=flags)
            for (name, queue, priority, flags), made, payloads in calls
            for id_, payload in zip(made, payloads, strict=True)
        ]
    )
    signatures = () if first is None else chain((first,), rest)
    if _add(app, publisher, batch, ids, signatures):
        confirmed(app, batch.messages, lambda: app.storage.enqueue_many(batch.messages))
        return ids
    stands = batch.stands(written(app, batch))
    return [stands.get(id_, id_) for id_ in ids]


def _add(app: App, publisher: Publisher, batch: Batch, ids: list[str], signatures: Iterable[Signature]) -> bool:
    """Add the messages of `signatures` to `batch`, and their ids to `ids`; whether nothing can stand for any of them.

    A canvas counts as its last message, or its group.
    """
    add_id, add, make = ids.append, batch.messages.append, publisher.message
    running = context.worker_request()
    root_id, parent_id = (None, None) if running is None else (running.root_id, running.id)
    alone = True
    for sig in signatures:
        options = sig["options"]
        if sig["subtask_type"] or (options and not GRAPH.isdisjoint(options)):
            alone = False
            compiled = compile_signature(sig, publisher, root_id=root_id, parent_id=parent_id)
            batch.messages += compiled.batch.messages
            batch.groups += compiled.batch.groups
            add_id(compiled.node.id)
            continue
        if signals.before_task_publish.receivers and not OF_A_CALL.issuperset(options):  # none is called, and may ask
            check_options(app, sig["task"], sig["args"], sig["kwargs"], options)
        id_ = checked_id(options["task_id"]) if options.get("task_id") else new_id()
        message = make(sig["task"], sig["args"], sig["kwargs"], options, message_id=id_)
        alone = alone and message.unique_key is None
        add(message)
        add_id(id_)
    return alone
