"""Looks before a model is asked: whether the agent goes in circles, and how much it has spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic_ai.durable_exec import ModelRequestParams
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolReturnPart

from liteq.exceptions import AgentStalled, BudgetExceeded
from liteq.workflow import Budget, actx
from liteq_pydantic_ai import places
from liteq_pydantic_ai.hashing import digest_of, plain
from liteq_pydantic_ai.spending import cost_of

__all__ = ["Stall", "checked_budget", "checked_stall", "look_at_budget", "look_for_stall"]

OFTEN = 3


class Stall(NamedTuple):
    """After how many calls that are the same in a row; whether a person is asked, or the run ends."""

    times: int
    asks: bool


def checked_stall(stall: Any) -> Stall | None:
    """`stall=` of the capability. Raises ValueError for what there is not."""
    if stall is None:
        return None
    times, asks = stall if isinstance(stall, tuple) and len(stall) == 2 else (stall, None)
    if times == "ask":
        times, asks = OFTEN, "ask"
    if not isinstance(times, int) or isinstance(times, bool) or times < 2 or asks not in (None, "ask"):
        raise ValueError(f"stall is a number from 2, 'ask', (number, 'ask') or None, not {stall!r}")
    return Stall(times, asks == "ask")


def checked_budget(budget: Any) -> Budget | None:
    """`budget=` of the capability. Raises TypeError for what is none."""
    if budget is None or isinstance(budget, Budget):
        return budget
    raise TypeError(f'budget is a Budget, as Budget(cost="2.50"), not {budget!r}')


async def look_for_stall(agent: str, stall: Stall, params: ModelRequestParams) -> None:
    """End the agent where its last calls were the same tool, with the same arguments and the same result.

    What it looks at is the conversation, which is the same in each replay. Raises AgentStalled.
    """
    new = _last_results(params.messages)
    if not new:
        return
    calls = _calls(params.messages, str(params.run_context.run_id))
    last = next(calls, None)
    if last is None:  # the results are of calls that an earlier run of the agent had deferred
        return
    in_a_row = 1
    for other in calls:
        if other != last:
            break
        in_a_row += 1
    if in_a_row // stall.times <= max(0, in_a_row - new) // stall.times:
        return
    name, _ = last
    what = f"the agent {agent!r} has called the tool {name!r} {in_a_row} times with the same arguments and result"
    if not stall.asks:
        raise AgentStalled(f"{what}; give the tool an answer that tells the model what to do instead, or raise stall=")
    place = places.key(params.run_context.run_id, "stalled", params.run_context.run_step)
    decision = await actx.approval(f"go on? {name} ({agent})", details={"tool": name, "times": in_a_row}, key=place)
    if not decision.ok:
        raise AgentStalled(f"{what}, and {decision.by or 'a person'} has ended it: {decision.comment or 'no comment'}")


def _last_results(messages: Sequence[ModelMessage]) -> int:
    last = messages[-1] if messages else None
    parts = last.parts if isinstance(last, ModelRequest) else ()
    return sum(isinstance(part, ToolReturnPart) for part in parts)


def _calls(messages: Sequence[ModelMessage], run_id: str) -> Iterator[tuple[str, str]]:
    """The calls of tools with their results, the last one first: the name, and what tells it from others."""
    results: dict[str, tuple[str, Any]] = {}
    for message in reversed(messages):
        if message.run_id not in (None, run_id):
            return
        if isinstance(message, ModelRequest):
            for part in message.parts:
                if isinstance(part, ToolReturnPart):
                    results[part.tool_call_id] = (part.tool_name, plain(part.content))
        elif isinstance(message, ModelResponse):
            for call in reversed(message.tool_calls):
                if call.tool_call_id in results:
                    name, result = results.pop(call.tool_call_id)
                    yield name, digest_of(plain(call.args_as_dict()), result)


# -- budgets -----------------------------------------------------------------------------------------------------------

OF_BUDGETS = ("cost", "tokens", "requests")
Amount = Decimal | int


async def look_at_budget(agent: str, budget: Budget, params: ModelRequestParams, *, is_made: bool) -> None:
    """End the agent before the request that would break its budget, or ask a person how much to add.

    A request takes as much as the largest of this run of the agent did. is_made: history holds the request, so only
    what a person was asked then is looked at again. Raises BudgetExceeded.
    """
    run = params.run_context
    used, largest = _used(params)
    for what in OF_BUDGETS:
        limit: Amount | None = getattr(budget, what)
        most = None if limit is None else limit + places.activation().added[f"{run.run_id} {what}"]
        while most is not None and used[what] + largest[what] > most:
            text = (
                f"the agent {agent!r} has spent {used[what]} of {most} {what}, and another request may take "
                f"{largest[what]}"
            )
            asks = budget.on_exceed == "ask"
            place = places.key(run.run_id, "budget", what, run.run_step)
            if is_made and not (asks and places.history_holds(place)):
                break
            if not asks:
                raise BudgetExceeded(text)
            details = {"agent": agent, "what": what, "spent": str(used[what]), "most": str(most)}
            title = f"add how much? {what} of {agent}"
            decision = await actx.approval(title, details=details, form=form_of(what), key=place)
            if not decision.ok:
                raise BudgetExceeded(f"{text}; {decision.by or 'a person'} adds nothing: {decision.comment}")
            said = str(decision.data["add"])
            more: Amount = Decimal(said) if what == "cost" else int(said)
            places.activation().added[f"{run.run_id} {what}"] += more
            most += more


def form_of(what: str) -> dict[str, Any]:
    """The form of the answer, `{"add": "0.10"}`: what does not fit it decides nothing."""
    some = r"^(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,9})?$" if what == "cost" else "^0*[1-9][0-9]{0,17}$"
    add = {"anyOf": [{"type": "string", "pattern": some}, {"type": "integer", "minimum": 1}]}
    return {"type": "object", "properties": {"add": add}, "required": ["add"]}


def _used(params: ModelRequestParams) -> tuple[dict[str, Amount], dict[str, Amount]]:
    """The amounts that this run of the agent has spent, with agents inside its tools, and the most of one request."""
    run_id = str(params.run_context.run_id)
    spent = params.run_context.usage - places.usage_before(run_id)
    used: dict[str, Amount] = {
        "cost": spent.cost or Decimal(0), "tokens": spent.input_tokens + spent.output_tokens,
        "requests": spent.requests,
    }  # fmt: skip
    largest: dict[str, Amount] = {"cost": Decimal(0), "tokens": 0, "requests": 1}
    for message in params.messages:
        if isinstance(message, ModelResponse) and message.run_id == run_id:
            largest["cost"] = max(largest["cost"], cost_of(message) or Decimal(0))
            largest["tokens"] = max(largest["tokens"], message.usage.input_tokens + message.usage.output_tokens)
    return used, largest
