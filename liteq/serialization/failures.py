"""An error document back into an exception, as a caller of `get()` and an errback see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteq.exceptions import Retry
from liteq.serialization import ErrorDoc, decode_error, encode_error, loaded_class, rebuild
from liteq.serialization.sealing import unopened
from liteq.serialization.tags import SEAL

__all__ = ["exception_from", "exception_of_meta", "meta_of_exception"]


def exception_from(error: bytes) -> tuple[Exception, str | None]:
    """The exception of an error document, and its traceback as the worker saw it; the exception carries it as a note.

    The last line of the traceback of a task that will run again says when, as Celery's does.

    Built-in and liteq's own classes come back as themselves, and so do those that this process has imported already;
    nothing is imported because a message names it. Any other class becomes RemoteError.

    Raises CodecError for a document that is sealed: code that goes on by the kind of an error must not take that for
    another.
    """
    if error.startswith(SEAL):
        raise unopened(error)
    doc = decode_error(error)
    exc = rebuild(doc, _loaded(doc))
    if doc.traceback:
        exc.add_note(f"In the worker:\n{doc.traceback.rstrip()}")
    again = f"\n{Retry.__module__}.{Retry.__qualname__}: {doc.retry}\n" if doc.retry else ""
    return exc, f"{doc.traceback}{again}" or None


def exception_of_meta(meta: Any) -> Any:
    """The exception that a task described itself, with `update_state(state="FAILURE", meta={"exc_type": ...})`.

    `exc_message` is its arguments, or the only one, `exc_module` where its class is. What has no `exc_type` is returned
    as it is. Classes as in `exception_from`.
    """
    if not isinstance(meta, Mapping) or not isinstance(meta.get("exc_type"), str):
        return meta
    said = meta.get("exc_message", ())
    args = list(said) if isinstance(said, (list, tuple)) else [said]
    doc = ErrorDoc(
        type=meta["exc_type"],
        module=str(meta.get("exc_module") or "builtins"),
        message=str(args[0]) if len(args) == 1 else str(tuple(args)),
        args=args,
    )
    return rebuild(doc, _loaded(doc))


def meta_of_exception(exc: BaseException) -> dict[str, Any]:
    """The meta of which `exception_of_meta` makes `exc` again; an argument without a JSON form is its repr."""
    doc = decode_error(encode_error(exc))
    return {"exc_type": doc.type, "exc_message": doc.args, "exc_module": doc.module}


def _loaded(doc: ErrorDoc) -> list[type[Exception]]:
    """The classes of `doc`, its causes and its members that are imported here."""
    classes = []
    todo = [doc]
    while todo:
        inner = todo.pop()
        found = loaded_class(inner)
        if found is not None:
            classes.append(found)
        todo += inner.members
        if inner.cause is not None:
            todo.append(inner.cause)
    return classes
