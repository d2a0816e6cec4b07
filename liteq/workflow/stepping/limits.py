"""Limits of steps: a place and a token under each key before an attempt, and answers of others that say "later"."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import uniform
from typing import TYPE_CHECKING, Any

import orjson

from liteq.exceptions import BadMessage, LeaseLost, RateLimited, StepTimeout, StorageError, WorkflowError
from liteq.execution.hushed import quoted
from liteq.message import Flag, StepRow, Suspend
from liteq.policy.limited import Later, is_own_fault, later_of
from liteq.serialization import encode
from liteq.serialization.models import data_of
from liteq.storage.limits.ledger import parsed
from liteq.workflow.history.machine import Machine
from liteq.workflow.history.places import Wait
from liteq.workflow.stepping import spending

if TYPE_CHECKING:
    import asyncio

    from liteq.storage.limits.stepping import Taken
    from liteq.workflow.declared.step import Step
    from liteq.workflow.stepping.call import StepCall

__all__ = [
    "after_failure", "alone", "enter", "enter_here", "is_metered", "keys_of", "leave_places", "passed", "put_off",
    "put_off_run",
    "record", "settle_with",
]  # fmt: skip

logger = logging.getLogger("liteq.workflow")

FIRST_LOOK_MS = 1_000  # for a place that became free while the run let go of its worker
LOOK_MS = 30_000  # ... from then on: it is woken when one is free
IN_PLACE_MS = 1_000  # so long it waits in its process
POLL_MS = 50  # ... and looks so often, where nobody can say when
JITTER_MS = 500  # behind a pause
MET = "it was asked for"


def is_metered(call: StepCall) -> bool:
    """Whether limits or budgets are to be asked before an attempt: not of a step that is known to spend nothing."""
    step, machine = call.step, call.machine
    if step.keyed is not None or step.spends is not None:
        return True
    spends = machine.runs.spenders.get(step.name)
    return spends is True or (spends is None and machine.facts.spending > 1)


def keys_of(call: StepCall) -> Sequence[str]:
    """The keys by which the step's limits are counted. Raises what the functions among them raise."""
    keyed = call.step.keyed
    text = None if keyed is None else keyed.keys_of(call.args, call.kwargs)
    return () if text is None else orjson.loads(text)[1:]


def enter_here(call: StepCall) -> None:
    """Take what an attempt of a plain step needs; where that takes longer than a moment, the run waits."""
    while pause_s := enter(call):
        time.sleep(pause_s)


def enter(call: StepCall) -> float:
    """Take a place and a token under each key of the step, and what its budgets hold for it: all or none.

    0.0 where it has them, else the seconds after which to look again, here. Where that is longer the run waits. Of a
    key that is paused or fails, the first argument of `fallback` is taken whose key is neither.
    """
    machine, step = call.machine, call.step
    machine.front(call.scope, call.place)
    call.started = machine.now_ms()
    call.tokens = ()
    _choose(call, None)
    taken = _take(call)
    if taken is not None and taken.shut and step.fallback is not None:
        taken = _otherwise(call, taken)
    if taken is None or taken.lacks is None:
        call.since_ms = None
        return 0.0
    return _wait(call, taken)


def _take(call: StepCall) -> Taken | None:
    """Take what the attempt needs, with the arguments that it has now; None where its budgets let it wait here."""
    machine, step = call.machine, call.step
    keys = call.keys = keys_of(call)
    sent = machine.is_step and step.fallback is None
    if sent and keys and not (machine.has_begun or machine.lease.flags & Flag.HISTORY):
        machine.has_begun = True  # the first claim of a step that was sent has taken them; each later attempt a token
        keys = ()
    if not _spends(call):
        if not keys:
            return None
        taken: Taken = machine.reading(lambda: machine.runs.take_places(machine.hold, keys, again=sent))
        call.places, call.tokens = taken.keys, taken.tokens
        return taken
    wanted = spending.wanted_of(call)
    attempt = spending.attempt_of(call)
    taken, answer = machine.reading(lambda: machine.runs.begin(machine.hold, keys, attempt, wanted, again=sent))
    if answer.waits is not None and answer.asks is None and _here_s(call, None):
        return taken._replace(lacks=f"\0{answer.waits}")
    spending.refused(call, answer)
    call.places, call.tokens, call.reserved = taken.keys, taken.tokens, answer.reserved and taken.lacks is None
    if answer.spender is not None and answer.spender is not machine.runs.spenders.get(step.name):
        machine.runs.spenders[step.name] = answer.spender
    return taken


def _spends(call: StepCall) -> bool:
    """Whether the attempt may spend something that is counted."""
    if call.step.spends is not None:
        return True
    facts = call.machine.facts
    if not facts.spending:
        return False
    spends = call.machine.runs.spenders.get(call.step.name)
    return spends is True or (spends is None and facts.spending > 1)


def _here_s(call: StepCall, at_ms: int | None) -> float:
    """Seconds to wait in this process before the next look; 0.0 where that has been, or would be, too long."""
    machine = call.machine
    if not machine.sleeps_here:
        return 0.0
    now_ms = machine.now_ms()
    if call.since_ms is None:
        call.since_ms = now_ms
    left_ms = call.since_ms + IN_PLACE_MS - now_ms
    wait_ms = POLL_MS if at_ms is None else max(at_ms - now_ms, 1)
    return wait_ms / 1000 if wait_ms <= left_ms else 0.0


def _wait(call: StepCall, taken: Taken) -> float:
    """Seconds until the next look, here; else the run waits for its turn."""
    machine, lacks = call.machine, taken.lacks or ""
    if lacks.startswith("\0"):
        return POLL_MS / 1000
    here_s = _here_s(call, taken.at_ms)
    if here_s:
        return here_s
    call.since_ms = None
    waited = f"limit {lacks}"
    before = machine.rows.get(call.place)
    again = before is not None and before.waited == waited
    due_ms = taken.at_ms or machine.now_ms() + (LOOK_MS if again else FIRST_LOOK_MS)
    row = call.row(waited=waited, due_ms=due_ms)._replace(attempts=call.attempt - 1)
    call.scope.wait(Wait(call.place, row, due_ms=due_ms))


@asynccontextmanager
async def alone(call: StepCall) -> AsyncIterator[None]:
    """A block for an attempt of an async step: of one run, the steps under one key come one after another.

    A place is the run's. Steps that are to run side by side under a limit are sent: each of them has its own.
    """
    import asyncio  # a plain program pays for it where it runs its first async step

    machine = call.machine
    locks = [] if machine.is_step else [machine.locks.setdefault(key, asyncio.Lock()) for key in sorted(keys_of(call))]
    held: list[asyncio.Lock] = []
    try:
        for lock in locks:
            await lock.acquire()
            held.append(lock)
        yield
    finally:
        for lock in reversed(held):
            lock.release()


# -- another argument ------------------------------------------------------------------------------------------------


def _choose(call: StepCall, chosen: tuple[str, Any] | None) -> None:
    """Have the attempt run with another argument; None: with the one that it was called with."""
    if chosen is None and call.chosen is None:
        return
    args, kwargs = call.asked
    if chosen is not None:
        name = chosen[0]
        parameters = [*call.step.codec.parameters.signature.parameters]
        place = parameters.index(name) if name in parameters else len(args)
        if place < len(args):
            args = (*args[:place], chosen[1], *args[place + 1 :])
        else:
            kwargs = {**kwargs, name: chosen[1]}
    call.args, call.kwargs, call.chosen = args, kwargs, chosen


def _otherwise(call: StepCall, refused: Taken) -> Taken | None:
    """Take what the attempt needs with the first argument whose key is neither paused nor failing."""
    for chosen in _alternatives(call):
        _choose(call, chosen)
        taken = _take(call)
        if taken is None or not taken.shut:
            return taken
    _choose(call, None)
    call.keys = keys_of(call)
    return refused


def _alternatives(call: StepCall) -> Iterator[tuple[str, Any]]:
    for name, values in (call.step.fallback or {}).items():
        for value in values:
            yield name, value


def _has_another(call: StepCall) -> bool:
    """Whether there is an argument to run with at once: the key of the one that it had is shut now."""
    if call.step.fallback is None:
        return False
    before = call.chosen
    try:
        for chosen in (None, *_alternatives(call)):
            _choose(call, chosen)
            keys = keys_of(call)
            if not call.machine.reading(partial(call.machine.runs.is_shut, keys)):
                return True
        return False
    finally:
        _choose(call, before)


# -- behind an attempt -----------------------------------------------------------------------------------------------


def leave_places(machine: Machine, keys: Sequence[str]) -> None:
    """Give places back; where that fails, they go with the run's lease."""
    if keys:
        try:
            machine.runs.leave_places(machine.hold, keys)
        except (LeaseLost, StorageError) as exc:
            logger.warning("run %s keeps its places under %s until it lets go: %s", machine.run_id, keys, exc)


def passed(call: StepCall) -> None:
    """Note that the attempt has succeeded, where one of its keys is in trouble."""
    machine, keys = call.machine, call.keys
    machine.reading(lambda: machine.runs.passed(keys))


def record(call: StepCall, row: StepRow) -> StepRow:
    """Record a result with what it has spent, and the argument that was chosen for it."""
    machine = call.machine
    if call.chosen is not None:
        name, value = call.chosen
        row = row._replace(details=encode({"fallback": {name: data_of(value)}}, what=f"the fallback of {name!r}"))
    memo = call.memo
    if memo is not None and call.spends:
        memo = memo._replace(spent=spending.told(call.spends))
    machine.checkpoint(row, memo, call.intent, spending.spent(call, ended=True))
    return row


def settle_with(call: StepCall, transaction: Any) -> None:
    """Write what a step has spent in its own transaction."""
    spent = spending.spent(call, ended=True)
    if spent is not None and (warned := transaction.settle(spent)):
        call.machine.warn(warned)


def after_failure(call: StepCall, exc: BaseException) -> bool:
    """Do what limits ask for behind a failed attempt: whether it goes on at once, and no attempt is counted.

    Waits where `exc` asks to come later: the key that it names is paused for all, else the first of the step's.
    """
    machine, step = call.machine, call.step
    later = _later_of(call, exc)
    if later is not None:
        return _put_off(call, exc, later, call.step.fallback is not None)
    if not call.keys or not _is_trouble(step, exc):
        return False
    keys = call.keys
    if machine.reading(lambda: machine.runs.failed(keys)) and _has_another(call):
        logger.warning("step %r of run %s goes on elsewhere: %.1000s", step.name, machine.run_id, quoted(exc))
        call.settle()
        _end_intent(call)
        return True
    return False


def put_off(call: StepCall, exc: BaseException) -> None:
    """Let the run wait where `exc`, of a look at a step's destination, asks to come later. Returns where not."""
    later = _later_of(call, exc)
    if later is not None:
        _put_off(call, exc, later, False)


def _later_of(call: StepCall, exc: BaseException) -> Later | None:
    """The wait that an error asks for, and that the step does not take for a failure."""
    if isinstance(exc, call.step.give_up_on) and not isinstance(exc, RateLimited):
        return None
    return later_of(exc, call.machine.now_ms())


def _end_intent(call: StepCall) -> None:
    """Note that a step with doubt= has ended, if badly: it is begun anew with another argument."""
    if call.intent:
        call.intent = False
        call.machine.reading(lambda: call.machine.runs.end_intent(call.machine.hold, call.place))


def _is_trouble(step: Step[Any, Any], exc: BaseException) -> bool:
    """Whether an error may be the other side's: not one that it has answered with, nor one of this program's."""
    if isinstance(exc, step.give_up_on) or (
        isinstance(exc, (WorkflowError, BadMessage, SystemExit)) and not isinstance(exc, StepTimeout)
    ):
        return False
    return not is_own_fault(exc)


def _put_off(call: StepCall, exc: BaseException, later: Later, elsewhere: bool) -> bool:
    """Pause the key that refused, and wait; `elsewhere`: whether it may go on with another argument, at once."""
    machine, step = call.machine, call.step
    own = call.keys or keys_of(call)
    key = later.key or next(iter(own), None)
    wait_s = later.wait_s if later.named else None
    call.settle()
    if key is None:
        until_ms = machine.now_ms() + int(later.wait_s * 1000)
    else:
        until_ms = machine.reading(lambda: machine.runs.refused(key, wait_s))
    if elsewhere and key in own and _has_another(call):
        logger.info("step %r of run %s goes on elsewhere: %.1000s", step.name, machine.run_id, quoted(exc))
        _end_intent(call)
        return True
    span_ms = max(until_ms - machine.now_ms(), 0)
    text = "step %r of run %s waits for %.3g s: %.1000s"
    logger.info(text, step.name, machine.run_id, span_ms / 1000, quoted(exc))
    due_ms = until_ms + int(uniform(0, min(JITTER_MS, span_ms / 10)))
    row = call.row(waited=f"limit {key}" if key in own else None, due_ms=due_ms)._replace(attempts=call.attempt - 1)
    call.wait(row, due_ms)


def put_off_run(machine: Machine, exc: Exception) -> Suspend | None:
    """The outcome for a body that has raised RateLimited itself: the run waits, and its body is replayed then.

    None for another error, also of HTTP: that may be of a call that has failed for good. The key that it names is
    paused for all, else the first of the run's. Leaves as `Machine.checkpoint`.
    """
    if machine.is_step or machine.is_cancelled or not isinstance(exc, RateLimited):
        return None
    later = later_of(exc, machine.now_ms())
    if later is None:
        return None
    logger.info("run %s waits for %.3g s: %.1000s", machine.run_id, later.wait_s, quoted(exc))
    due_ms = _paused_until(machine, later, _keys_of_run(machine))
    return machine.suspension([Wait(("", 0), due_ms=due_ms)])


def _keys_of_run(machine: Machine) -> Sequence[str]:
    """The keys of the limits that the run's own message has."""
    record = machine.reading(lambda: machine.app.storage.reader.find(machine.run_id))
    return () if record is None else parsed(record.keys).limits


def _paused_until(machine: Machine, later: Later, keys: Sequence[str]) -> int:
    """Pause the key that was named, else the first of `keys`; when that is over, in ms."""
    key = later.key or next(iter(keys), None)
    if key is not None:
        machine.reading(lambda: machine.app.storage.limits.pause(key, later.wait_s, MET))
    return machine.now_ms() + int(later.wait_s * 1000)
