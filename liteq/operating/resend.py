"""Edit and send: a new message that is made from an old one, which stays as it is."""

from __future__ import annotations

from typing import Any

import orjson

from liteq.context import App
from liteq.context.display import REDACTED, redacted
from liteq.message import Flag, Message, RunSpec
from liteq.sending.keys import keys_again
from liteq.serialization import decode, encode, kind_of
from liteq.storage.operating.audit import Actor
from liteq.storage.reading.inspect import Record
from liteq.utils.json_text import to_json

__all__ = ["again", "editable", "restored"]

NOTE = "liteq-note"  # the header that says where it came from
KEPT = Flag.IGNORE_RESULT | Flag.TRACK_STARTED | Flag.EARLY_ACK | Flag.RUN | Flag.TAGGED | Flag.LOGS
OF_THE_OLD_ONE = frozenset({"argsrepr", "kwargsrepr", "unique_key", "replaced_task_nesting", "stamps", "throttle"})


def again(app: App, record: Record, new: str, by: Actor, *, args: Any = None, kwargs: Any = None) -> Message:
    """The message `new`, made from `record` with other arguments (None: the same); the note says by whom and why.

    An argument that comes back as it was shown is what it was: a hidden one, and a time, which JSON has as text.
    Raises ValueError for arguments that are no list and no object, and for one that its task does not take.
    """
    if record.flags & (Flag.ON_FAILURE | Flag.STEP):
        what = "an errback, which is called for what failed" if record.flags & Flag.ON_FAILURE else "a step of a run"
        raise ValueError(f"{record.id} is {what}: it is not sent by itself")
    same = args is None and kwargs is None and not record.flags & Flag.TAKES_INPUT
    payload = record.payload if same else _edited(app, record, args, kwargs)
    options = orjson.loads(record.options) if record.options else {}
    options = {name: value for name, value in options.items() if name not in OF_THE_OLD_ONE}
    note = f"made from {record.id} by {by.name}" + (f": {by.reason}" if by.reason else "")
    options["headers"] = {**(options.get("headers") or {}), NOTE: note}
    return Message(
        new, record.task, payload, record.queue, record.priority,
        options=orjson.dumps(options), root_id=record.root_id or record.id, parent_id=record.id,
        flags=record.flags & KEPT, run=_spec(app, record), keys=_keys(app, record, payload, options),
        tags=tuple(app.storage.views.tags(record.id)) if record.flags & Flag.TAGGED else (),
    )  # fmt: skip


def _keys(app: App, record: Record, payload: bytes, options: dict[str, Any]) -> str | None:
    """The keys of a message with these arguments; None where they cannot be made here: a worker makes them then."""
    task = app.tasks.find(record.task)
    if task is None or kind_of(payload):
        return None
    try:
        args, kwargs = decode(payload)
        return keys_again(app, task, options, args, kwargs)
    except Exception:  # noqa: BLE001 - arguments that do not fit, or a function of the program's
        return None


def editable(app: App, record: Record) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a message to be edited, as they may be shown, with the result that it was called with in front.

    Raises ValueError where they are in an envelope.
    """
    return redacted(app, record.task, *_whole(app, record))


def _whole(app: App, record: Record) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a message with the result of what it awaited in front, where it takes that."""
    documents = [record.payload]
    if record.flags & Flag.TAKES_INPUT and record.awaits is not None:
        documents.append(app.storage.reader.input_of(record.awaits))
    if sealed := next(filter(None, map(kind_of, documents)), None):
        raise ValueError(f"the arguments of {record.id} are {sealed}, which is not opened here")
    (args, kwargs), *before = map(decode, documents)
    return [*before, *args], kwargs


def _spec(app: App, record: Record) -> RunSpec | None:
    run = app.storage.runs.find(record.id) if record.flags & Flag.RUN else None
    return None if run is None else RunSpec(run.version, tags=run.tags)


def _edited(app: App, record: Record, args: Any, kwargs: Any) -> bytes:
    old_args, old_kwargs = _whole(app, record)
    shown_args, shown_kwargs = redacted(app, record.task, old_args, old_kwargs)
    args = old_args if args is None else restored(shown_args, args, old_args)
    kwargs = old_kwargs if kwargs is None else restored(shown_kwargs, kwargs, old_kwargs)
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("args is a JSON array, kwargs a JSON object")
    if _hidden_in(args) or _hidden_in(kwargs):
        raise ValueError(f"an argument is {REDACTED!r}, which stands for a hidden value: write the value itself")
    task = app.tasks.find(record.task)
    if task is not None:
        try:
            task.check_arguments(args, kwargs)
        except TypeError as error:
            raise ValueError(str(error)) from None
    return encode([args, kwargs], what=f"arguments of {record.task}", limit=app.conf.max_payload_bytes)


def restored(shown: Any, edited: Any, old: Any) -> Any:
    """`edited` with each value that it has as `shown` had it, in the same place, as it is in `old`.

    So what was hidden stays, and what JSON has no form for does not become the text that stood for it.
    """
    if to_json(edited) == to_json(shown):
        return old
    if isinstance(edited, list) and isinstance(shown, list) and isinstance(old, (list, tuple)):
        pairs = zip(shown, edited, old, strict=False)
        return [*(restored(s, e, o) for s, e, o in pairs), *edited[min(len(shown), len(old)) :]]
    if isinstance(edited, dict) and isinstance(shown, dict) and isinstance(old, dict):
        return {
            key: restored(shown[key], value, old[key]) if key in shown and key in old else value
            for key, value in edited.items()
        }
    return edited


def _hidden_in(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_hidden_in, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_hidden_in, value))
    return bool(value == REDACTED)
