"""`Observer`: sees what an app sends, claims, executes and settles. Traces and metrics are made so.

While an app has none, none of this is called, and a plain call goes its short way to the file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import orjson

from liteq.message import Lease, Message, Outcome

__all__ = ["Ended", "Observer", "add_headers", "all_of", "headers_of", "trace_id_of"]

logger = logging.getLogger("liteq.observers")

BAGGAGE = "baggage"

Ended = Callable[[Outcome | None, BaseException | None], None]
"""Told of the end of an execution: its outcome, and the exception by which it came; nothing, of a step that returned.

Not called where the process is torn out of it.
"""


def add_headers(message: Message, headers: Mapping[str, Any]) -> None:
    """Add `headers` to those that `message` is sent with, over those of the same name; `baggage` is merged."""
    options = orjson.loads(message.options) if message.options else {}
    before = options.get("headers") or {}
    options["headers"] = {**before, **headers}
    if headers.get(BAGGAGE) and before.get(BAGGAGE):
        options["headers"][BAGGAGE] = _merged(str(before[BAGGAGE]), str(headers[BAGGAGE]))
    message.options = orjson.dumps(options)


def headers_of(options: bytes | None) -> dict[str, Any]:
    """The headers in the options of a message; {} where there are none, and where others wrote what is no JSON."""
    try:
        headers = orjson.loads(options).get("headers") if options else None
    except (ValueError, AttributeError):
        return {}
    return headers if isinstance(headers, dict) else {}


def trace_id_of(headers: Mapping[str, Any]) -> str | None:
    """The id of the trace in which a message was sent, by OpenTelemetry or by Sentry; None where there is none."""
    for name, place in (("traceparent", 1), ("sentry-trace", 0)):
        value = headers.get(name)
        parts = value.split("-") if isinstance(value, str) else []
        if len(parts) > place and len(parts[place]) == 32:
            return str(parts[place])
    return None


def _merged(before: str, after: str) -> str:
    """Both baggages, which several observers carry in one header: `key=value,key=value`."""
    items = {item.partition("=")[0].strip(): item.strip() for item in [*before.split(","), *after.split(",")]}
    return ",".join(items.values())


def _ignore(_outcome: Outcome | None, _exc: BaseException | None) -> None:
    pass


class Observer:
    """Sees what an app does. Override what is wanted: each method here does nothing.

    What one raises is logged, and changes nothing of what it sees.
    """

    def sending(self, entry: Any = None, *, many: bool = False) -> AbstractContextManager[object]:
        """Around the making and writing of the messages of one call, or one canvas; inside another, a part of that.

        `entry`: the `beat.ScheduleEntry` that sends; `many`: calls in bulk. It is left with what the sending raised.
        """
        return nullcontext()

    def made(self, message: Message) -> None:
        """Called with each message before it is written; `add_headers` is its one way to change it."""

    def executing(self, task: Any, request: Any) -> AbstractContextManager[Ended]:
        """Around one execution of `task`, an attempt of it, or one activation of a run; in its process and thread."""
        return nullcontext(_ignore)

    def stepping(self, step: Any, given: tuple[Any, Any], attempt: int, lease: Lease) -> AbstractContextManager[object]:
        """Around one attempt, from 1, of a step of the run of `lease`; `given`: its args and kwargs.

        It is left with what the attempt raised; by no Exception where the run leaves it, to wait. A step that history
        answers is not attempted.
        """
        return nullcontext()

    def turned(self, claimed: Sequence[Lease], settled: Sequence[tuple[Lease, Outcome]], seconds: float) -> None:
        """Called in a worker's main process after a transaction that took `seconds`."""

    def lost(self, lease: Lease, exc: BaseException) -> None:
        """Called there with a message that has failed by `exc`, as its process did not live to tell."""


class _Several(Observer):
    """Several observers as one; the first is the outermost. Keeps the program from what they raise."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._all = tuple(observers)

    @contextmanager
    def sending(self, entry: Any = None, *, many: bool = False) -> Iterator[None]:
        with ExitStack() as stack:
            for one in self._all:
                _enter(stack, lambda one=one: one.sending(entry, many=many))  # type: ignore[misc]
            yield

    def made(self, message: Message) -> None:
        for one in self._all:
            _told(one.made, message)

    @contextmanager
    def executing(self, task: Any, request: Any) -> Iterator[Ended]:
        with ExitStack() as stack:
            ends = [_enter(stack, lambda one=one: one.executing(task, request)) for one in self._all]  # type: ignore[misc]
            yield _to_each(ends)

    @contextmanager
    def stepping(self, step: Any, given: tuple[Any, Any], attempt: int, lease: Lease) -> Iterator[None]:
        with ExitStack() as stack:
            for one in self._all:
                _enter(stack, lambda one=one: one.stepping(step, given, attempt, lease))  # type: ignore[misc]
            yield

    def turned(self, claimed: Sequence[Lease], settled: Sequence[tuple[Lease, Outcome]], seconds: float) -> None:
        for one in self._all:
            _told(one.turned, claimed, settled, seconds)

    def lost(self, lease: Lease, exc: BaseException) -> None:
        for one in self._all:
            _told(one.lost, lease, exc)


def all_of(observers: Sequence[Observer]) -> Observer | None:
    """One observer that tells all of `observers`; None where there are none."""
    return _Several(observers) if observers else None


def _enter(stack: ExitStack, make: Callable[[], AbstractContextManager[Any]]) -> Any:
    """Enter what `make` returns, and have `stack` leave it; None where an observer fails at it."""
    try:
        block = make()
        entered = block.__enter__()
    except Exception:
        logger.exception("an observer failed; what it observes goes on")
        return None
    stack.push(lambda *raised: _leave(block, raised))
    return entered


def _leave(block: AbstractContextManager[Any], raised: tuple[Any, ...]) -> bool:
    try:
        block.__exit__(*raised)
    except Exception as exc:
        if exc is not raised[1]:
            logger.exception("an observer failed; what it observes goes on")
    return False


def _to_each(ends: Sequence[Ended | None]) -> Ended:
    def ended(outcome: Outcome | None, exc: BaseException | None) -> None:
        for one in ends:
            if one is not None:
                _told(one, outcome, exc)

    return ended


def _told(tell: Callable[..., object], *what: Any) -> None:
    try:
        tell(*what)
    except Exception:
        logger.exception("an observer failed; what it observes goes on")
