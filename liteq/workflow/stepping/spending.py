"""Spending of a step: `ctx.spend`, the estimate that is reserved before it begins, and the row that tells it behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from liteq.exceptions import BudgetExceeded, WorkflowError
from liteq.policy.money import as_text, from_units, to_units
from liteq.serialization import encode
from liteq.serialization.models import data_of
from liteq.storage.spending.kinds import Attempt, Spend
from liteq.storage.spending.reserving import Wanted
from liteq.storage.spending.settling import Spent
from liteq.workflow.declared.money import checked_count, checked_money
from liteq.workflow.declared.step_checks import checked_spends
from liteq.workflow.history.announce import announce_request
from liteq.workflow.history.errors import document_of
from liteq.workflow.history.frames import enter, leave
from liteq.workflow.history.machine import Machine
from liteq.workflow.history.places import Wait
from liteq.workflow.stepping.prices import price_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from liteq.storage.spending.reserving import Answer
    from liteq.workflow.stepping.call import StepCall

__all__ = ["add", "attempt_of", "recalled", "refused", "saved", "spent", "told", "wanted_of"]

logger = logging.getLogger("liteq.workflow")

FIRST_LOOK_MS = 1_000  # for what was given back while the run let go of its worker
LOOK_MS = 30_000  # ... from then on: it is woken


def attempt_of(call: StepCall) -> Attempt:
    """The attempt that the call is at."""
    return Attempt(*call.place, call.attempt, call.started, call.step.name)


def wanted_of(call: StepCall) -> Wanted:
    """The estimate of an attempt, as its step says. Raises what its function raises; TypeError, ValueError."""
    step, spends = call.step, call.step.spends
    if spends is None or spends is True:
        return Wanted(spends=spends is True or bool(call.machine.runs.spenders.get(step.name)))
    if callable(spends):
        spends = checked_spends(spends(*call.args, **call.kwargs), step.what)
    if not isinstance(spends, Mapping):
        return Wanted(spends=True)
    cost = spends.get("cost")
    return Wanted(None if cost is None else to_units(cost), spends.get("tokens"), spends.get("requests"), spends=True)


def add(
    call: StepCall, model: str | None, requests: int, tokens: Mapping[str, int], cost: Any, details: Mapping[str, Any]
) -> None:
    """Note what an attempt has spent: it is written with its record."""
    what = f"ctx.spend in {call.step.what}"
    if model is not None and not isinstance(model, str):
        raise TypeError(f"{what}: model is a name, not {model!r}")
    counts = {name: checked_count(n, f"{what}: {name}") for name, n in tokens.items()}
    checked_count(requests, f"{what}: requests")
    if cost is not None:
        money: Decimal | None = checked_money(cost, f"{what}: cost")
    else:
        money = price_of(model, counts)
    more = encode(data_of(dict(details)), what=f"the details of {what}") if details else None
    units = None if money is None else to_units(money)
    row = Spend(model, requests, **counts, cost=units, details=more)
    machine, name = call.machine, call.step.name
    first = call.spends is None
    call.spends = [*(call.spends or ()), row]
    if first and not call.reserved and call.transaction is None:
        machine.runs.spenders[name] = True
        machine.reading(lambda: machine.runs.track(machine.hold, attempt_of(call), call.tokens))
        call.reserved = True


def spent(call: StepCall, *, ended: bool) -> Spent | None:
    """The spending to be written with the record of an attempt; None for nothing."""
    if call.spends is None and not call.reserved:
        return None
    spends, call.spends, call.reserved = call.spends or (), None, False
    if ended:
        call.machine.runs.spenders.setdefault(call.step.name, bool(spends))
    return Spent(attempt_of(call), spends, ended=ended)


def recalled(call: StepCall, document: bytes) -> Spent:
    """The spending that an answer of the memo has saved."""
    return Spent(attempt_of(call), saved(document), memo=True)


def refused(call: StepCall, answer: Answer) -> None:
    """Do what an answer of the budgets asks for: fail the step, or let the run wait. Returns where it may begin."""
    machine = call.machine
    if answer.asks is not None:
        _ask(machine, answer.asks)
    if answer.exceeded is not None:
        call.end(document_of(BudgetExceeded(answer.exceeded), machine.error_limit, traced=False))
    if answer.waits is not None:
        waited = f"budget {answer.waits}"
        before = machine.rows.get(call.place)
        # Of an async body something that is in flight may be its own: nobody wakes it then, as it is awake.
        again = before is not None and before.waited == waited and not machine.is_async
        due_ms = machine.now_ms() + (LOOK_MS if again else FIRST_LOOK_MS)
        row = call.row(waited=waited, due_ms=due_ms)._replace(attempts=call.attempt - 1)
        call.scope.wait(Wait(call.place, row, due_ms=due_ms))


def _ask(machine: Machine, question: Any) -> None:
    """Tell people of a request: once, by the process that has written it."""
    lease = machine.lease._replace(id=question.id, task=question.task, queue=question.queue)
    token = enter(None)  # the task that tells the webhook is no call of the body's
    try:
        announce_request(machine.app, lease, question.row)
    finally:
        leave(token)


# -- as documents ----------------------------------------------------------------------------------------------------


def told(spends: Sequence[Spend]) -> bytes | None:
    """`spends` as JSON, as the memo keeps them with a result; None for none."""
    if not spends:
        return None
    rows = []
    for one in spends:
        document = one._asdict()
        document["cost"] = None if one.cost is None else as_text(from_units(one.cost))
        document["details"] = None if one.details is None else orjson.Fragment(one.details)
        rows.append(document)
    return orjson.dumps(rows)


def saved(document: bytes | None) -> list[Spend]:
    """The spending that a stored answer has saved; one request where nobody has told. Raises nothing."""
    try:
        rows = orjson.loads(document) if document else []
        return [_read(row) for row in rows] or [Spend(requests=0, cost=0)]
    except (ValueError, TypeError, AttributeError, WorkflowError):  # of another version
        return [Spend(requests=0)]


def _read(row: Mapping[str, Any]) -> Spend:
    cost = row.get("cost")
    numbers = {name: int(row.get(name) or 0) for name in Spend._fields[1:6]}
    details = row.get("details")
    return Spend(
        row.get("model"), **numbers, cost=None if cost is None else to_units(Decimal(cost)),
        details=None if details is None else orjson.dumps(details),
    )  # fmt: skip
