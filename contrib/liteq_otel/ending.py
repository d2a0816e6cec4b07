"""The end of an attempt on its span: what became of it, and its error without the secrets that this quotes."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from opentelemetry.trace import Span, Status, StatusCode

from liteq.exceptions import Ignore, Reject, Retry, text_of
from liteq.exceptions import TaskPredicate as Asked
from liteq.message import Limited, Outcome, Park, Release
from liteq.serialization import decode_error
from liteq_otel.attributes import ERROR_TYPE, OUTCOMES

__all__ = ["LOST", "Hide", "end_attempt", "fail", "fail_by"]

Hide = Callable[[str], str] | None

LOST = "lost"  # the error of an attempt of which nobody told the end


def end_attempt(span: Span, outcome: Outcome | None, exc: BaseException | None, hide: Hide) -> str:
    """Note on `span` how its attempt ended; the name of its error, "" where it is none.

    A retry, Ignore and Reject are what the task asked for. Of a retry the exception is noted that it is for, and of a
    limit that was met the answer that said so; the attempt is no error.
    """
    word, error = _word(outcome, exc), ""
    if isinstance(exc, Retry):
        if isinstance(exc.exc, BaseException):
            _record(span, exc.exc, hide)
    elif isinstance(outcome, Limited):
        if exc is not None:
            _record(span, exc, hide)
    elif exc is not None and not isinstance(exc, Asked):
        error = fail_by(span, exc, hide)
    elif word in ("failed", "crashed"):
        error = _fail_as_stored(span, getattr(outcome, "error", None), hide)
    span.set_attribute("liteq.outcome", word)
    span.add_event("settle", {"liteq.outcome": word})
    return error


def _word(outcome: Outcome | None, exc: BaseException | None) -> str:
    if outcome is None:
        return LOST
    if isinstance(outcome, Park):
        return outcome.state
    if isinstance(exc, Reject):
        return "rejected"
    if type(exc) is Ignore:
        return "ignored"
    return "crashed" if isinstance(outcome, Release) and outcome.crashed else OUTCOMES[type(outcome)]


def fail_by(span: Span, exc: BaseException, hide: Hide) -> str:
    """`span` has failed by `exc`; the name of that."""
    _record(span, exc, hide)
    fail(span, _name(exc), _text(exc, hide))
    return _name(exc)


def fail(span: Span, name: str, text: str) -> None:
    """`span` has failed by the error `name`."""
    span.set_attribute(ERROR_TYPE, name)
    span.set_status(Status(StatusCode.ERROR, text or name))


def _fail_as_stored(span: Span, document: bytes | None, hide: Hide) -> str:
    """As `fail_by`, by the error that is written with the message."""
    if document is None:
        fail(span, LOST, "")
        return LOST
    stored = decode_error(document)
    text = stored.message if hide is None else hide(stored.message)
    span.add_event("exception", {"exception.type": stored.type, "exception.message": text})
    fail(span, stored.type, text)
    return stored.type


def _record(span: Span, exc: BaseException, hide: Hide) -> None:
    stack = "".join(traceback.format_exception(exc))
    told = {"exception.type": _name(exc), "exception.message": _text(exc, hide)}
    span.add_event("exception", {**told, "exception.stacktrace": stack if hide is None else hide(stack)})


def _name(exc: BaseException) -> str:
    module = type(exc).__module__
    return type(exc).__qualname__ if module == "builtins" else f"{module}.{type(exc).__qualname__}"


def _text(exc: BaseException, hide: Hide) -> str:
    text = text_of(exc, str)
    return text if hide is None else hide(text)
