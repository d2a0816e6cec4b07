"""The price of model requests: told to the run by `ctx.spend` from inside the step, also of an agent inside a tool.

While a step asks, the provider's client does not repeat a request by itself: a limit would count what nobody sees.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RunUsage

from liteq.workflow import ctx

__all__ = ["Counted", "cost_of", "inside"]


class Told:
    """The usage that requests inside one tool have told already."""

    def __init__(self) -> None:
        self.usage = RunUsage()

    def rest(self, used: RunUsage) -> None:
        """Spend what the tool's agents have used beyond that: of agents that do not tell."""
        requests = used.requests - self.usage.requests
        if requests > 0:
            ctx.spend(
                input_tokens=max(0, used.input_tokens - self.usage.input_tokens),
                output_tokens=max(0, used.output_tokens - self.usage.output_tokens),
                cache_read=max(0, used.cache_read_tokens - self.usage.cache_read_tokens),
                cache_write=max(0, used.cache_write_tokens - self.usage.cache_write_tokens),
                requests=requests,
            )


_told: ContextVar[Told | None] = ContextVar("liteq_pydantic_ai_told", default=None)


@contextmanager
def inside() -> Iterator[Told]:
    """A block of a tool: what its agents tell is noted."""
    told = Told()
    token = _told.set(told)
    try:
        yield told
    finally:
        _told.reset(token)


def spend(response: ModelResponse, model: str) -> None:
    """Tell the run what one answer took."""
    usage = response.usage
    told = _told.get()
    if told is not None:
        told.usage.incr(usage)
        told.usage.requests += 1
    ctx.spend(
        model=response.model_name or model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read=usage.cache_read_tokens,
        cache_write=usage.cache_write_tokens,
        cost=cost_of(response),
    )


def cost_of(response: ModelResponse) -> Decimal | None:
    """The price as the provider told it, or as its price list has it; None where nobody knows."""
    said: Any = getattr(response.usage, "cost", None)
    if said is not None:
        return Decimal(str(said))
    if not response.model_name:
        return None
    try:
        return response.cost().total_price
    except Exception:  # noqa: BLE001 - an unknown provider, or model: the run may know a price by the model's name
        return None


class Counted(WrapperModel):
    """A model whose answers are told to the run. It lives for one request, inside a step."""

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Ask, once."""
        with unrepeated(self.wrapped):
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
        spend(response, self.wrapped.model_name)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Ask, once; a stream that breaks is told as far as it came."""
        with unrepeated(self.wrapped):
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                try:
                    yield stream
                except BaseException:
                    response = stream.get()
                    if response.usage.has_values():
                        spend(response, self.wrapped.model_name)
                    raise
                spend(stream.get(), self.wrapped.model_name)


_one = threading.Lock()  # for these two: runs of several threads may share a client
_asking: Counter[int] = Counter()  # by the id of a client: requests in progress
_patience: dict[int, int] = {}  # ... its max_retries before


@contextmanager
def unrepeated(model: Model) -> Iterator[None]:
    """A block in which the client of `model` sends a request once, and no more."""
    clients = list(_clients(model))
    with _one:
        for client in clients:
            _asking[id(client)] += 1
            if _asking[id(client)] == 1:
                _patience[id(client)] = client.max_retries
                client.max_retries = 0
    try:
        yield
    finally:
        with _one:
            for client in clients:
                _asking[id(client)] -= 1
                if not _asking[id(client)]:
                    del _asking[id(client)]
                    client.max_retries = _patience.pop(id(client))


def _clients(model: Any) -> Iterator[Any]:
    """The clients by which `model` asks: of all that a FallbackModel has."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    for one in getattr(model, "models", None) or ():
        yield from _clients(one)
    client = getattr(model, "client", None)
    if isinstance(getattr(client, "max_retries", None), int):
        yield client
