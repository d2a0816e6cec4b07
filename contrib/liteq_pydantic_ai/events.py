"""Waits for somebody outside: `RequestInput`, `wait_for_external_event`, as events of the run, named by their token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from pydantic import JsonValue
from pydantic_ai.durable_exec import ExternalEventError, ExternalEventWaiter
from pydantic_core import to_jsonable_python

from liteq import LiteQ
from liteq.workflow import StepOptions, actx
from liteq_pydantic_ai.places import body, inside, key

__all__ = ["Waiter", "fail", "resolve"]

EVENT = "pydantic-ai "  # and the key of the wait
APART = "!"  # in a token, between the run's id and the key: the last one of the token
GONE: Any = object()


class Waiter(ExternalEventWaiter):
    """The way in which a run of an agent waits: the token is recorded, and asked with once; the run holds nothing."""

    def __init__(self, agent: str, run_id: str, options: StepOptions) -> None:
        self.agent = agent
        self.run_id = run_id
        self.options = options

    async def wait(
        self,
        name: str,
        *,
        ask: Callable[[str], Awaitable[JsonValue]],
        timeout: timedelta | None,  # noqa: ASYNC109
    ) -> JsonValue:
        """The answer of `ask`, else what the token is resolved with. Raises ExternalEventError."""
        step = f"{self.agent}__external_event.{name}"
        place = key(self.run_id, step, inside())  # waits of parallel tools are told apart by these
        token = f"{body().machine.run_id}{APART}{place.replace(APART, '.')}"
        answer = await actx.step(f"{step}.ask", ask, key=f"{place}.ask", args=(token,), options=self.options)
        if answer is not None:
            return answer
        found = await actx.wait_event(_event(token), key=place, timeout=timeout, default=GONE)
        if found is GONE:
            raise ExternalEventError(f"No resolution arrived within {timeout}.")
        if "error" in found:
            raise ExternalEventError(found["error"])
        return found["payload"]  # type: ignore[no-any-return]


def _event(token: str) -> str:
    return EVENT + token.rpartition(APART)[2]


def resolve(app: LiteQ, token: str, payload: object) -> bool:
    """Give the run that waits with `token` its answer, from any process: JSON, or results of deferred tool calls.

    True: this call did; False: the token was resolved before, and the first answer stands. Raises ValueError for what
    is no token, RunNotFound, RunEnded.
    """
    return _send(app, token, {"payload": to_jsonable_python(payload)})


def fail(app: LiteQ, token: str, reason: str) -> bool:
    """End the wait with `token` without an answer: it raises ExternalEventError. As `resolve` otherwise."""
    return _send(app, token, {"error": str(reason)})


def _send(app: LiteQ, token: str, document: dict[str, Any]) -> bool:
    run_id, apart, place = token.rpartition(APART)
    if not apart or not run_id or not place:
        raise ValueError(f"no token of a wait: {token!r}; pass on the one that `ask` was given, unchanged")
    sent: bool = app.Run(run_id).send(_event(token), document, dedup=f"{EVENT}{place}")
    return sent
