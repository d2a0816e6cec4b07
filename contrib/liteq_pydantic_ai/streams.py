"""The words of an agent in the run's streams, while it says them: `tokens` of text, or all `events`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import EventStreamHandlerParams
from pydantic_ai.messages import (
    AgentStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.tools import RunContext
from pydantic_core import to_jsonable_python

from liteq.utils.misspelt import meant
from liteq.workflow import actx, ctx
from liteq_pydantic_ai import places

__all__ = ["checked_emit", "emit_in_body", "emitting"]

CHOICES = ("tokens", "events")
_events: TypeAdapter[Any] = TypeAdapter(AgentStreamEvent)


def checked_emit(emit: Any) -> Any:
    """`emit`. Raises ValueError for what there is not."""
    if emit is not None and emit not in CHOICES:
        raise ValueError(f"emit is 'tokens', 'events' or None, not {emit!r}{meant(str(emit), CHOICES)}")
    return emit


def emitting(emit: str, handler: EventStreamHandler[Any] | None) -> EventStreamHandler[Any]:
    """A handler of events that puts them into the run's stream, where it runs in a step, and hands them on."""

    async def emitted(run: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
        if handler is None:
            async for event in events:
                _emit(emit, event)
            return

        async def passed() -> AsyncIterator[AgentStreamEvent]:
            async for event in events:
                _emit(emit, event)
                yield event

        await handler(run, passed())

    return emitted


def _emit(emit: str, event: AgentStreamEvent) -> None:
    if not places.in_step():
        return
    if emit == "events":
        ctx.emit("events", _plain(event))
        return
    text = None
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        text = event.part.content
    elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        text = event.delta.content_delta
    if text:
        ctx.emit("tokens", text)


def _plain(event: AgentStreamEvent) -> Any:
    """An event as JSON; what it holds that JSON has not is its repr."""
    try:
        return _events.dump_python(event, mode="json")
    except Exception:  # noqa: BLE001 - an event of a capability's own, or a value in one
        return to_jsonable_python(event, fallback=repr)


async def emit_in_body(params: EventStreamHandlerParams) -> None:
    """Put an event of a tool into the stream: live, and not by a replay."""
    part = getattr(params.event, "part", None)
    about = getattr(part, "tool_call_id", None) or params.run_context.run_step
    if places.first_time(params.run_context.run_id, params.event.event_kind, about):
        await actx.emit("events", _plain(params.event))
