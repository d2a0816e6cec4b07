"""Rows as Celery's result documents, and Celery's values and errors as a row holds them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import celery.exceptions
import orjson
from celery import states
from kombu.compression import compress, decompress
from kombu.exceptions import EncodeError
from kombu.serialization import dumps, loads
from kombu.utils.json import loads as kombu_loads

from liteq import exceptions
from liteq.clock import from_ms
from liteq.exceptions import LiteqError
from liteq.result.reading import state_of
from liteq.serialization import decode, decode_error, encode, encode_error
from liteq.serialization.content import ENVELOPE, options_of
from liteq.states import State
from liteq.storage.reading.inspect import Record

__all__ = ["error_document", "meta_of", "read_value", "value_document"]

JSON = "application/json"
TAG = b'"__type__"'
LIMIT = 1 << 40  # bytes: Celery has none
OURS = exceptions.__name__
THEIRS = ("celery.exceptions", "billiard.exceptions")


def value_document(value: Any, serializer: str, compression: str | None) -> bytes:
    """`value` as a row holds it: plain JSON, or an envelope of liteq's with what kombu's serializer makes.

    Raises EncodeError.
    """
    if serializer == "json" and not compression:
        try:
            return encode(value, what="a result")
        except LiteqError:  # keys that are no text, types that the app has registered with kombu
            pass
    content_type, encoding, data = dumps(value, serializer=serializer)
    body = data.encode(encoding or "utf-8") if isinstance(data, str) else bytes(data)
    if content_type == JSON and not compression and b"NaN" not in body and b"Infinity" not in body:
        return body
    method = ""
    if compression:
        body, method = compress(body, compression)
    return ENVELOPE + f"{content_type};{method}".encode() + b"\0" + body


def read_value(data: bytes | None, accept: Any) -> Any:
    """The value of a row's document. Raises kombu's errors for a content that `accept` does not have."""
    if data is None:
        return None
    if data[:1] != ENVELOPE:
        return decode(data) if TAG not in data else _untagged(data)
    head, _, body = data[1:].partition(b"\0")
    content_type, _, method = head.decode().partition(";")
    if method:
        body = decompress(body, method if "/" in method else f"application/{method}")
    encoding = "binary" if content_type in ("application/x-python-serialize", "application/x-msgpack") else "utf-8"
    return loads(body, content_type, encoding, accept=accept)


def _untagged(data: bytes) -> Any:
    """The value of plain JSON with tags: kombu knows those that the app has registered with it, liteq its own."""
    try:
        return kombu_loads(data.decode())
    except ValueError:
        return decode(data)


def error_document(exc: Any, traceback: str | None) -> bytes:
    """The error document of `exc`. An error of Celery's that liteq has under the same name becomes liteq's."""
    if not isinstance(exc, BaseException):
        exc = EncodeError(exc) if exc is None else Exception(exc)
    document = encode_error(exc, traceback or "")
    doc = orjson.loads(document)
    if doc["module"] in THEIRS and hasattr(exceptions, doc["type"]):
        return orjson.dumps({**doc, "module": OURS})
    return document


def described_error(error: bytes) -> tuple[dict[str, Any], str | None]:
    """An error document as Celery describes an exception, and its traceback."""
    doc = decode_error(error)
    module = doc.module
    if module == OURS:
        found = next((name for name in THEIRS if hasattr(sys.modules.get(name), doc.type)), None)
        module = found or module
    return {"exc_type": doc.type, "exc_module": module, "exc_message": doc.args}, doc.traceback or None


def meta_of(record: Record | None, *, read: Callable[[bytes | None], Any], to_python: Callable[[Any], Any],
            extended: bool) -> dict[str, Any]:  # fmt: skip
    """The result document of a row, as Celery's backends return it. `to_python` makes exceptions."""
    if record is None:
        return {"status": states.PENDING, "result": None}
    status = state_of(record)
    shown = (record.progress is not None and not record.has_ended) or status == states.STARTED
    meta: dict[str, Any] = {"status": status, "result": None, "traceback": None, "children": [], "date_done": None,
                            "task_id": record.id}  # fmt: skip
    if record.state is State.SUCCEEDED:
        meta["result"] = read(record.result)
    elif record.progress is not None and (shown or status not in states.ALL_STATES):
        meta["result"] = read_progress(record.progress, read)
    elif record.error is not None and status in states.EXCEPTION_STATES:
        described, meta["traceback"] = described_error(record.error)
        meta["result"] = to_python(described)
    elif status == states.REVOKED:
        meta["result"] = celery.exceptions.TaskRevokedError("revoked")
    if status in states.EXCEPTION_STATES and isinstance(meta["result"], dict) and "exc_type" in meta["result"]:
        meta["result"] = to_python(meta["result"])
    if record.finished_ms is not None and record.has_ended:
        meta["date_done"] = from_ms(record.finished_ms).isoformat()
    celery_doc = options_of(record.options).get("celery", {})
    if group := celery_doc.get("group") or record.group_id:
        meta["group_id"] = group
    if record.parent_id:
        meta["parent_id"] = record.parent_id
    if extended:
        meta |= _extended(record)
    return meta


def read_progress(progress: bytes, read: Callable[[bytes | None], Any]) -> Any:
    """The meta of a state that a task has set."""
    found = read(progress)
    return found.get("meta") if isinstance(found, dict) else found


def _extended(record: Record) -> dict[str, Any]:
    """The fields that `result_extended` adds: the row has them in any case."""
    try:
        args, kwargs = decode(record.payload)
    except LiteqError:
        args = kwargs = None
    doc = decode(record.options) if record.options and options_of(record.options) else {}  # may be sealed
    names, stamps = doc.get("stamped_headers"), doc.get("stamps") or {}
    stamped = {"stamped_headers": names, **{name: stamps[name] for name in names if name in stamps}} if names else {}
    return {
        "name": record.task, "args": args, "kwargs": kwargs, "worker": record.worker, "retries": record.retries,
        "queue": record.queue, **stamped,
    }  # fmt: skip
