"""An error document back into an exception, as a caller of `get()` and an errback see it."""

from __future__ import annotations

from liteq.serialization import ErrorDoc, decode_error, loaded_class, rebuild

__all__ = ["exception_from"]


def exception_from(error: bytes) -> tuple[Exception, str | None]:
    """The exception of an error document, and its traceback as the worker saw it; the exception carries it as a note.

    Built-in and liteq's own classes come back as themselves, and so do those that this process has imported already;
    nothing is imported because a message names it. Any other class becomes RemoteError.
    """
    doc = decode_error(error)
    exc = rebuild(doc, _loaded(doc))
    if doc.traceback:
        exc.add_note(f"In the worker:\n{doc.traceback.rstrip()}")
    return exc, doc.traceback or None


def _loaded(doc: ErrorDoc) -> list[type[Exception]]:
    """The classes of `doc` and its causes that are imported here."""
    classes = []
    inner: ErrorDoc | None = doc
    while inner is not None:
        found = loaded_class(inner)
        if found is not None:
            classes.append(found)
        inner = inner.cause
    return classes
