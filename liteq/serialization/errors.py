"""Exceptions as data: what a worker records of a failure, and what a reader may make of it again.

Recording a failure must always work, so nothing here raises on what an exception brings along: a `__str__` that fails,
arguments without a JSON form, megabytes of text. Reading never imports: a class is rebuilt when it is built in, one of
liteq's, or one that the caller allows (the lesson of CVE-2021-23727); else it comes back as a RemoteError.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable
from dataclasses import field, replace
from functools import partial
from typing import Any

import orjson

from liteq import exceptions
from liteq.exceptions import CodecError, LiteqError, RemoteError, text_of
from liteq.serialization.codec import decode, encode
from liteq.utils.records import dataclass

__all__ = ["ErrorDoc", "decode_error", "encode_error", "loaded_class", "rebuild"]

MAX_TEXT_BYTES = 64 * 1024
_MAX_CAUSES = 8
_MAX_MEMBERS = 20  # of a group, and of each in it


@dataclass(frozen=True, slots=True)
class ErrorDoc:
    """An exception as it is kept. `type` is its class's qualified name, `cause` what it was raised from."""

    type: str
    module: str
    message: str
    args: list[Any] = field(default_factory=list)
    traceback: str = ""
    cause: ErrorDoc | None = None
    members: list[ErrorDoc] = field(default_factory=list)  # of a group
    attributes: dict[str, Any] = field(default_factory=dict)  # of a step's or a run's, where they have a JSON form
    retry: str = ""  # "Retry in 30s: ..." of a task that will run again

    @property
    def type_name(self) -> str:
        """`module.Class`; without the module for a built-in class."""
        return self.type if self.module == "builtins" else f"{self.module}.{self.type}"


# -- write -----------------------------------------------------------------------------------------------------------


def encode_error(
    exc: BaseException,
    traceback_text: str = "",
    *,
    max_traceback_bytes: int = MAX_TEXT_BYTES,
    retry: BaseException | None = None,
) -> bytes:
    """`exc` as a JSON document. Never raises. `retry`: the exception that says when the task runs again.

    The traceback, and the message, keep their head and their tail where they are longer than `max_traceback_bytes`.
    An argument without a JSON form, or longer than that, is kept as its repr.
    """
    doc = _whole(exc, max_traceback_bytes)
    doc["traceback"] = shorten(traceback_text, max_traceback_bytes)
    if retry is not None and retry is not exc:
        doc["retry"] = _describe(retry, max_traceback_bytes)["message"]
    outer = doc
    for cause in _causes(exc):
        outer["cause"] = _describe(cause, max_traceback_bytes)
        outer = outer["cause"]
    return orjson.dumps(doc)


def _describe(exc: BaseException, limit: int) -> dict[str, Any]:
    kind = type(exc)
    said: dict[str, Any]
    if isinstance(exc, RemoteError) and exc.type_name:  # it keeps the name it had where it was first raised
        module, _, name = exc.type_name.rpartition(".")
        said = {"type": name, "module": module or "builtins", "message": exc.args[0] if exc.args else ""}
    else:
        said = {"type": kind.__qualname__, "module": kind.__module__, "message": exc}
    return {key: shorten(text_of(value, str), limit) for key, value in said.items()}


def _whole(exc: BaseException, limit: int, depth: int = _MAX_CAUSES) -> dict[str, Any]:
    doc = _describe(exc, limit)
    if isinstance(exc, BaseExceptionGroup) and depth:
        doc["args"] = [shorten(text_of(exc.message, str), limit)]
        doc["members"] = [_whole(one, limit // _MAX_MEMBERS, depth - 1) for one in exc.exceptions[:_MAX_MEMBERS]]
    else:
        doc["args"] = _arguments(exc, limit)
    return doc


def _causes(exc: BaseException) -> Iterable[BaseException]:
    """The exception that `exc` was raised from, then the one before it, and so on, as a traceback shows them."""
    seen = {id(exc)}
    current: BaseException | None = exc
    while current is not None and len(seen) <= _MAX_CAUSES:
        cause, context = current.__cause__, current.__context__
        current = context if cause is None and not current.__suppress_context__ else cause
        if current is None or id(current) in seen:
            return
        seen.add(id(current))
        yield current


def _arguments(exc: BaseException, limit: int) -> list[Any]:
    try:
        args = [_argument(arg, limit) for arg in exc.args]
    except Exception:  # noqa: BLE001 - `args` may be anything the class made of it
        return []
    return args if len(orjson.dumps(args)) <= limit else [shorten(text_of(exc, str), limit)]


def _argument(arg: Any, limit: int) -> Any:
    """`arg` in plain JSON, tags and all."""
    try:
        return orjson.loads(encode(arg, what="an argument", limit=limit, setting="max_traceback_bytes"))
    except Exception:  # noqa: BLE001 - its repr will do
        return shorten(text_of(arg, repr), limit)


def shorten(text: str, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8, 64 or more: its head, how much was left out, and its tail."""
    data = text.encode("utf-8", "backslashreplace")  # lone surrogates, as in names of files
    if len(data) <= limit:
        return data.decode()
    each = (limit - 64) // 2  # 64: room for what stands between them
    head, tail = data[:each], data[len(data) - each :]
    gap = f"\n... {len(data) - len(head) - len(tail):,} bytes left out ...\n"
    return head.decode(errors="ignore") + gap + tail.decode(errors="ignore")


# -- read ------------------------------------------------------------------------------------------------------------


def decode_error(data: bytes) -> ErrorDoc:
    """The document that `encode_error` wrote. Never raises: what cannot be read becomes a document that says so."""
    try:
        return _doc(decode(data), _MAX_CAUSES)
    except CodecError as exc:  # sealed: it says under which key
        return ErrorDoc("CodecError", exceptions.__name__, str(exc), [str(exc)])
    except (LiteqError, LookupError, TypeError, AttributeError):
        return ErrorDoc("RemoteError", exceptions.__name__, f"an error document of {len(data)} bytes cannot be read")


def _doc(raw: dict[str, Any], depth: int) -> ErrorDoc:
    cause = raw.get("cause") if depth else None
    return ErrorDoc(
        type=str(raw["type"]),
        module=str(raw["module"]),
        message=str(raw.get("message", "")),
        args=list(raw.get("args", ())),
        traceback=str(raw.get("traceback", "")),
        retry=str(raw.get("retry", "")),
        cause=_doc(cause, depth - 1) if isinstance(cause, dict) else None,
        members=[_doc(one, depth - 1) for one in raw.get("members", ()) if depth],
        attributes=dict(raw.get("attributes", ())),
    )


def rebuild(doc: ErrorDoc, extra_allowed: Iterable[type[BaseException]] = ()) -> Exception:
    """An exception like the one that was raised, its `__cause__` too: of the same class where that is allowed.

    Allowed are the built-in ones, liteq's, and those in `extra_allowed`; a class whose constructor does not take its
    `args` is made without it. Anything else is a RemoteError with the class's name and the message. It has the
    attributes of the document.
    """
    allowed = tuple(extra_allowed)
    kind = _allowed_class(doc, allowed)
    if kind is not None and issubclass(kind, ExceptionGroup) and doc.members and len(doc.args) == 1:
        doc = replace(doc, args=[doc.args[0], [rebuild(one, allowed) for one in doc.members]])
    exc = _construct(kind, doc) if kind is not None else None
    if exc is None:
        exc = RemoteError(doc.message, type_name=doc.type_name)
        _fill(exc, doc)
    if doc.cause is not None:
        exc.__cause__ = rebuild(doc.cause, allowed)
    return exc


def loaded_class(doc: ErrorDoc) -> type[Exception] | None:
    """The exception class that `doc` names, when its module is already imported here; else None. Never imports."""
    found: Any = sys.modules.get(doc.module)
    for part in doc.type.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _allowed_class(doc: ErrorDoc, extra: tuple[type[BaseException], ...]) -> type[Exception] | None:
    found: Any = None
    if doc.module == "builtins":
        found = vars(builtins).get(doc.type)
    elif doc.module == exceptions.__name__:
        found = vars(exceptions).get(doc.type)
    else:
        found = next((c for c in extra if (c.__module__, c.__qualname__) == (doc.module, doc.type)), None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _construct(kind: type[Exception], doc: ErrorDoc) -> Exception | None:
    """An instance of `kind` with the arguments of `doc`; None when there is no way to make one that can be printed."""
    makers: tuple[Callable[..., Exception], ...] = (kind, partial(kind.__new__, kind))
    for make in makers:
        try:
            exc = make(*doc.args)
            _fill(exc, doc)  # before it is printed: the text of many is an attribute
            str(exc)
            if type(exc) is kind and list(exc.args) == doc.args:
                return exc
        except Exception:  # noqa: BLE001, S112 - its constructor may do anything
            continue
    return None


def _fill(exc: Exception, doc: ErrorDoc) -> None:
    for name, value in doc.attributes.items():
        try:
            setattr(exc, name, value)
        except Exception:  # noqa: BLE001, S112 - a class with slots, or a property
            continue
