"""A model whose requests are steps of the run that executes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from agents import Model, ModelResponse
from agents.exceptions import ModelBehaviorError, ModelTimeoutError
from agents.items import TResponseOutputItem
from agents.usage import Usage, deserialize_usage, serialize_usage
from openai.types.responses import Response, ResponseCompletedEvent, ResponseFailedEvent, ResponseIncompleteEvent
from openai.types.responses.response_usage import ResponseUsage
from pydantic import TypeAdapter

from liteq.workflow import actx
from liteq_openai_agents.steps import Steps

__all__ = ["Emit", "ModelInRun", "spend"]

Emit = Literal["tokens", "events"] | None

_output: TypeAdapter[list[TResponseOutputItem]] = TypeAdapter(list[TResponseOutputItem])
OLD_NAME = "ModelInRun"  # of each model of an agent that had come out of a result
FINAL = (ResponseCompletedEvent, ResponseIncompleteEvent)


class ModelInRun(Model):
    """Another model. `name`: as limits and prices know it; `emit`: what of its stream goes to the run's.

    `named`: finds the model of a name, for a `fallback` of the step. `timeout_s`: of one request. `again`: of an agent
    that an earlier run has handed out.
    """

    def __init__(
        self, inner: Model, name: str, agent: str, steps: Steps, emit: Emit, named: Callable[[str], Model],
        timeout_s: float | None, *, again: bool = False,
    ) -> None:  # fmt: skip
        self.inner = inner
        self.name = name
        self._named = named
        self.timeout_s = timeout_s
        self._agent = agent
        self._steps = steps
        self._emit = emit
        self._again = again

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        """The answer of the model, from the run's history where that holds it."""
        if actx.place != "body":
            return await self.inner.get_response(system_instructions, input, *args, **kwargs)

        async def request(model: str, _input: Any) -> dict[str, Any]:
            async with _patience(self.timeout_s):
                if self._emit is None:
                    answer = await self._asked(model).get_response(system_instructions, input, *args, **kwargs)
                else:
                    answer = _answer_of(await self._streamed(model, system_instructions, input, *args, **kwargs))
            spend(model, answer.usage)
            return _kept(answer)

        found = await self._steps.numbered("model", "request", request, (self._called(input), input), self._agent)
        return _restored(found)

    async def stream_response(
        self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """The end of the model's stream, whose parts go to the run's streams while the step executes."""
        if actx.place != "body":
            async for event in self.inner.stream_response(system_instructions, input, *args, **kwargs):
                yield event
            return

        async def request(model: str, _input: Any) -> dict[str, Any]:
            async with _patience(self.timeout_s):
                response = await self._streamed(model, system_instructions, input, *args, **kwargs)
            spend(model, _usage_of(response.usage))
            return response.model_dump(mode="json", warnings=False)

        hashed = (self._called(input), input)
        found = await self._steps.numbered("model", "request_stream", request, hashed, self._agent)
        response = Response.model_validate(found)
        yield ResponseCompletedEvent(response=response, sequence_number=0, type="response.completed")

    def _called(self, input: Any) -> str:
        """The model's name, or that under which an older liteq has recorded the next request of such an agent."""
        return OLD_NAME if self._again and self._steps.holds("model", (OLD_NAME, input)) else self.name

    def _asked(self, model: str) -> Model:
        """The model that a step asks: another one where its options have chosen that."""
        return self.inner if model in {self.name, OLD_NAME} else self._named(model)

    async def _streamed(self, model: str, *args: Any, **kwargs: Any) -> Response:
        """The final response of a stream, emitted as it comes. Raises ModelBehaviorError for one that failed."""
        final: Response | None = None
        async for event in self._asked(model).stream_response(*args, **kwargs):
            if isinstance(event, ResponseFailedEvent):
                raise _failure(model, event.response)
            if isinstance(event, FINAL):
                final = event.response
            if self._emit == "events":
                await actx.emit("events", event.model_dump(mode="json", exclude_unset=True, warnings=False))
            elif event.type == "response.output_text.delta":
                await actx.emit("tokens", event.delta)
        if final is None:
            raise ModelBehaviorError(f"the stream of the model {model!r} ended without a response")
        return final


@asynccontextmanager
async def _patience(timeout_s: float | None) -> AsyncIterator[None]:
    """A block that may take so long. Raises ModelTimeoutError, as the SDK does."""
    patience = asyncio.timeout(timeout_s)
    try:
        async with patience:
            yield
    except TimeoutError as exc:
        if timeout_s is None or not patience.expired():
            raise
        raise ModelTimeoutError(timeout_s) from exc


def _failure(model: str, response: Response) -> ModelBehaviorError:
    """The error of a response that failed, of which what it took is told."""
    if response.usage is not None:
        spend(model, _usage_of(response.usage))
    error = response.error
    return ModelBehaviorError(f"the model {model!r} failed" + (f": {error.code}: {error.message}" if error else ""))


def _answer_of(response: Response) -> ModelResponse:
    return ModelResponse(output=response.output, usage=_usage_of(response.usage), response_id=response.id)


def _usage_of(usage: ResponseUsage | None) -> Usage:
    if usage is None:
        return Usage(requests=1)
    return Usage(
        requests=1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        input_tokens_details=usage.input_tokens_details,
        output_tokens_details=usage.output_tokens_details,
    )


def spend(model: str | None, usage: Usage) -> None:
    """Tell the run what the answers of a model took; of one answer whose provider told nothing, that it was one."""
    details = usage.input_tokens_details
    actx.spend(
        model=model,
        requests=usage.requests or 1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read=getattr(details, "cached_tokens", 0) or 0,
        cache_write=getattr(details, "cache_write_tokens", 0) or 0,
    )


def _kept(answer: ModelResponse) -> dict[str, Any]:
    """An answer as plain data."""
    items: list[Any] = [*answer.output]
    return {
        "output": [
            item if isinstance(item, dict) else item.model_dump(mode="json", exclude_unset=True, warnings=False)
            for item in items
        ],
        "usage": serialize_usage(answer.usage),
        "response_id": answer.response_id,
        "request_id": answer.request_id,
    }


def _restored(found: dict[str, Any]) -> ModelResponse:
    return ModelResponse(
        output=_output.validate_python(found["output"]),
        usage=deserialize_usage(found["usage"]),
        response_id=found["response_id"],
        request_id=found["request_id"],
    )
