"""Sending very many calls of a task."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liteq.sending.bulk import Sent

__all__ = ["SendingMany"]


class SendingMany:
    """The methods of a task that take its calls from an iterator."""

    def send_many(
        self,
        iterable: Iterable[Any],
        *,
        chunk: int = 1000,
        name: str | None = None,
        progress: Callable[[Sent], object] | None = None,
        **options: Any,
    ) -> Sent:
        """Send the task once for each element of `iterable`; how many messages were written, and how many skipped.

        An element is a tuple of arguments, a dict of named ones, or one argument. At most `chunk` elements are in
        memory, and they are sent in one commit. `progress` is called after each chunk with the numbers so far. With
        `name`, the same call after a crash goes on behind the elements that are sent, so each element is sent once.
        That needs the same elements in the same order; the file keeps a name for 90 days after its last chunk.
        `options` are those of `apply_async`, for each call.

        Raises as `apply_async`. The error of an element names its place; the chunks before it are sent by then.
        """
        from liteq.sending.bulk import send_many

        return send_many(self, iterable, chunk=chunk, name=name, progress=progress, options=options)

    async def asend_many(
        self,
        iterable: Iterable[Any] | AsyncIterable[Any],
        *,
        chunk: int = 1000,
        name: str | None = None,
        progress: Callable[[Sent], object | Awaitable[object]] | None = None,
        **options: Any,
    ) -> Sent:
        """`send_many()` for async code, of an async iterator too: while a chunk is written, others have the loop."""
        from liteq.sending.bulk import asend_many

        return await asend_many(self, iterable, chunk=chunk, name=name, progress=progress, options=options)
