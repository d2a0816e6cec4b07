"""`send_many`: the calls of one task from any iterator, part by part; under a name, each element once.

A part is one commit. That of a named sending moves its place in the file too (`storage.sends`): the same call after a
crash goes on there, and of two processes at the same name each sends what the other has not. Ids are made from name and
place as well, so that even where the place is forgotten what is in the file is not sent again.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from inspect import isawaitable
from itertools import islice
from typing import Any

from liteq import context
from liteq.context import App
from liteq.exceptions import BadMessage, LiteqError
from liteq.message import Batch, Message, new_ids
from liteq.sending.options import GRAPH, OF_A_CALL, check_options
from liteq.sending.plain import encoder
from liteq.sending.replicated import confirmed, written
from liteq.storage.facades.sends import Part
from liteq.storage.sending.sends import Moved
from liteq.utils.ids import ids_of
from liteq.utils.names import checked_name
from liteq.utils.records import dataclass

__all__ = ["Sent", "asend_many", "send_many"]

OWN = GRAPH | {"task_id", "add_to_group"}  # options of one call
TAKEN = (OF_A_CALL - OWN) | {"chunk", "name", "progress"}
Call = tuple[tuple[Any, ...], Mapping[str, Any]]
NO_KWARGS: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Sent:
    """How many messages a `send_many` has written, and how many of its elements it `skipped`: those were there."""

    count: int
    skipped: int


Progress = Callable[[Sent], object]


def send_many(
    task: Any, elements: Iterable[Any], *, chunk: int, name: str | None, progress: Progress | None,
    options: Mapping[str, Any],
) -> Sent:  # fmt: skip
    """Send a call of `task` for each of `elements`, `chunk` of them in one commit. See `Task.send_many`."""
    if isinstance(elements, AsyncIterable):
        raise TypeError("send_many() cannot read an async iterator: await asend_many()")
    sending = Sending(task, chunk, name, options)
    sending.begin()
    parts = _parts(iter(_checked(elements, name)), sending.chunk)
    for part in parts:
        sending.send(part)
        if progress is not None:
            progress(sending.sent)
    return sending.sent


async def asend_many(
    task: Any, elements: Iterable[Any] | AsyncIterable[Any], *, chunk: int, name: str | None,
    progress: Callable[[Sent], object | Awaitable[object]] | None, options: Mapping[str, Any],
) -> Sent:  # fmt: skip
    """As `send_many`, of an iterator or an async one, which is read on the event loop; a thread writes."""
    from liteq.utils.async_threads import writing

    sending = Sending(task, chunk, name, options)
    await writing(sending.app, sending.begin)

    async def send(part: list[Any]) -> None:
        await writing(sending.app, sending.send, part)
        told = None if progress is None else progress(sending.sent)
        if isawaitable(told):
            await told

    if isinstance(elements, AsyncIterable):
        part: list[Any] = []
        async for element in elements:
            part.append(element)
            if len(part) == sending.chunk:
                await send(part)
                part = []
        if part:
            await send(part)
    else:
        for part in _parts(iter(_checked(elements, name)), sending.chunk):
            await send(part)
    return sending.sent


def _checked(elements: Any, name: str | None) -> Iterable[Any]:
    iterable = isinstance(elements, Iterable) or hasattr(elements, "__getitem__")
    if not iterable or isinstance(elements, (str, bytes, Mapping)):
        raise TypeError(f"send_many() takes an iterable of elements, one a call, not {elements!r:.80}")
    if name is not None and isinstance(elements, (set, frozenset)):
        raise TypeError("send_many() with a name goes on by the order of its elements, and a set has none: sort it")
    return elements  # type: ignore[no-any-return]


def _parts(elements: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(islice(elements, size)):
        yield part


class Sending:
    """One `send_many`. `sent` is what it has done so far."""

    def __init__(self, task: Any, chunk: Any, name: str | None, options: Mapping[str, Any]) -> None:
        if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
            raise ValueError(f"chunk is how many elements one commit takes, 1 or more, not {chunk!r}")
        if not OWN.isdisjoint(options):
            word = ", ".join(sorted(OWN.intersection(options)))
            raise TypeError(f"send_many() takes no {word}: it belongs to one call; app.enqueue_many() takes signatures")
        if (workflow := context.workflow_here()) is not None:
            workflow.refuse_sending("send_many()")
        self.app: App = task.app
        self.chunk = chunk
        self.sent = Sent(0, 0)
        self._task = task
        self._options = {key: value for key, value in options.items() if value is not None}
        # Of its task: two tasks may be sent from one list, under one name.
        self._name = None if name is None else f"{task.name} {checked_name(name, 'the name of a send_many()')}"
        self._place = 0  # of the next element
        self._in_file = 0  # elements that are sent under this name, as far as is known
        self._is_checked = False  # whether its options are known to be some

    def begin(self) -> None:
        """Read where it goes on."""
        if self._name is None or self.app.conf.task_always_eager:
            return
        if not self.app.storage.takes_parts():
            raise LiteqError(
                "send_many(name=...) cannot be a part of this transaction, which is of another database: its place "
                "would move although that may be rolled back. Call it outside, or when the transaction has committed"
            )
        self._in_file = self.app.storage.sends.place(self._name)

    def send(self, elements: list[Any]) -> None:
        """Send the next elements, all or nothing, but for those that are sent already."""
        begin, end = self._place, self._place + len(elements)
        written = 0
        while self._name is None or self._in_file < end:
            skip = 0 if self._name is None else max(self._in_file - begin, 0)
            try:
                written = self._write(elements[skip:], begin + skip)
                break
            except Moved as moved:
                if moved.place < begin:
                    raise LiteqError(self._gone(moved.place)) from None
                self._in_file = moved.place
        self._place, self._in_file = end, max(self._in_file, end)
        self.sent = Sent(self.sent.count + written, self.sent.skipped + len(elements) - written)

    def _gone(self, place: int) -> str:
        return (
            f"send_many(name=...) of {self._task.name} was at element {self._place:,}, and the file says that "
            f"{place:,} are sent: an older copy of it was restored. Call it once more, and it goes on there"
        )

    def _write(self, elements: list[Any], begin: int) -> int:
        """Write a call of each of `elements`, the first of which is at the place `begin`; how many were written."""
        if not self._is_checked:
            self._check(elements[0])
        if self.app.conf.task_always_eager:
            for element in elements:
                self.app.sender.send_call(self._task, self._task.name, *_call(element), None, dict(self._options))
            return len(elements)
        part = None if self._name is None else Part(self._name, begin, begin + len(elements))
        ids = new_ids(len(elements)) if self._name is None else ids_of(self._name, begin, len(elements))
        observer = self.app.publisher.observer
        with nullcontext() if observer is None else observer.sending(many=True):
            if self._are_plain() and self._write_plain(elements, begin, ids, part):
                return len(elements)
            batch = Batch([self._message(one, at, ids[at - begin]) for at, one in enumerate(elements, begin)])
            if self.app.storage.takes_parts():
                return confirmed(self.app, batch.messages, lambda: self.app.storage.sends.batch(batch, part))
            written(self.app, batch)  # it goes with a transaction of another database
            return len(elements)

    def _check(self, element: Any) -> None:
        """Refuse options that are none, once for all elements; those that are only logged are left out.

        No receiver of before_task_publish is called for them, that could ask for one.
        """
        try:
            args, kwargs = _call(element)
        except TypeError:  # told with its place
            return
        told = check_options(self.app, self._task.name, args, kwargs, self._options, parameters=(), known=TAKEN)
        self._options = {key: value for key, value in self._options.items() if key not in told}
        self._is_checked = True

    def _are_plain(self) -> bool:
        if self._options or context.worker_request() is not None or not self.app.storage.takes_calls():
            return False
        return bool(self.app.publisher.defaults(self._task.name).is_plain)

    def _write_plain(self, elements: list[Any], begin: int, ids: list[str], part: Part | None) -> bool:
        d = self.app.publisher.defaults(self._task.name)
        encoded, payloads = encoder(d), list[bytes]()
        try:
            for element in elements:
                payloads.append(encoded(*_call(element)))
        except (BadMessage, TypeError) as exc:
            self._say_place(exc, begin + len(payloads))
            raise
        return self.app.storage.sends.calls((d.kind, ids, payloads), part)

    def _message(self, element: Any, at: int, id_: str) -> Message:
        try:
            args, kwargs = _call(element)
            made: Message = self.app.publisher.message(self._task.name, args, kwargs, self._options, message_id=id_)
        except (BadMessage, TypeError) as exc:
            self._say_place(exc, at)
            raise
        return made

    def _say_place(self, exc: Exception, at: int) -> None:
        """Have `exc`, of the element at the place `at`, say that, and what is sent."""
        place = f"element {at:,} of send_many(), counted from 0"
        exc.args = (f"{place}: {exc}; the {self._place:,} elements before its chunk are sent",)


def _call(element: Any) -> Call:
    """The arguments of the call that `element` is."""
    if isinstance(element, tuple):
        return element, NO_KWARGS
    if not isinstance(element, dict):
        return (element,), NO_KWARGS
    if not all(isinstance(key, str) for key in element):
        text = f"a dict holds named arguments, by text, and this one has other keys: {element!r:.80}"
        raise TypeError(f"{text}. A dict that is the argument itself goes into a tuple")
    return (), element
