"""Attempts of steps that have a timeout, a memo or a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from liteq.exceptions import LeaseLost, StorageBusy, StorageConflict, StorageFull, StorageUnavailable
from liteq.message import StepRow
from liteq.serialization import encode
from liteq.storage.runs.records import Memo
from liteq.workflow.declared.step import Step
from liteq.workflow.history.codec import hash_of
from liteq.workflow.history.places import Wait
from liteq.workflow.stepping.alarm import limited
from liteq.workflow.stepping.databases import in_a_database
from liteq.workflow.stepping.limits import enter_here, settle_with
from liteq.workflow.stepping.spending import recalled as recalled_spends

if TYPE_CHECKING:
    from liteq.workflow.stepping.call import StepCall

__all__ = ["LOOK_S", "MISSING", "WAITING", "look_up", "memo_key_of", "run_special"]

PATIENCE_S = 0.25  # for a result that another run computes, before the run suspends
MEMO_DUE_MS = 30_000  # until it looks again of itself
LOOK_S = 0.02
# Ends of a transaction that are no failure of the step: the lease is over, or the queue cannot be used now. Where a
# commit has got no answer, the next activation reads in the history whether it was done.
NOT_ITS_FAULT = (LeaseLost, StorageBusy, StorageConflict, StorageFull, StorageUnavailable)

MISSING = object()
WAITING = object()


def run_special(call: StepCall) -> Any:
    """One attempt of such a step: its result."""
    step = call.step
    if step.is_memo:
        found = recalled(call)
        if found is not MISSING:
            return found
        if call.is_metered():
            enter_here(call)
    if not step.tx:
        with limited(call.machine, step.timeout_s):
            value = call.function()(*call.args, **call.kwargs)
        return call.returned(value)
    if step.tx is True:
        return _in_the_queue(call)
    return in_a_database(call)


# -- memo ------------------------------------------------------------------------------------------------------------


def memo_key_of(step: Step[Any, Any], args: Any, kwargs: Any, scope: str = "") -> str:
    """The key of a call's result in the memo, for those that have the tags `scope`. Raises NotSerializable."""
    if step.memo_key is not None:
        data = encode(step.memo_key(*args, **kwargs), what=f"the memo_key of {step.what}")
        data = orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS)
    else:
        bound = step.codec.parameters.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        data = hash_of(bound.args, bound.kwargs, step.what) or b""
        data += orjson.dumps(step.codec.dump(bound.args, bound.kwargs), default=repr, option=orjson.OPT_SORT_KEYS)
    if scope:
        data = b"%s\0%s" % (scope.encode(), data)
    return f"{step.name}:{blake2b(data, digest_size=20).hexdigest()}"


def recalled(call: StepCall) -> Any:
    """The result that the memo holds; MISSING where this run is to compute it. Waits while another one does."""
    while (found := look_up(call)) is WAITING:
        time.sleep(LOOK_S)
    return found


def look_up(call: StepCall) -> Any:
    """As `recalled`, but WAITING while another run computes it: to be called again after LOOK_S."""
    machine, step = call.machine, call.step
    place = call.shared = call.shared or memo_of(call)
    if place is None:
        return MISSING
    taken = machine.reading(lambda: machine.runs.memo(machine.hold, place.key, step.name))
    if taken.output is not None:
        return remembered(call, place._replace(spent=taken.spent), taken.output)
    if taken.mine:
        call.memo = place
        return MISSING
    now = time.monotonic()
    call.patience = call.patience or now + PATIENCE_S
    if now >= call.patience or not machine.sleeps_here:
        await_memo(call, place.key)
    return WAITING


def memo_of(call: StepCall) -> Memo | None:
    """The place of a call's result in the memo; None where the step has a scope and its run belongs to none."""
    machine, step = call.machine, call.step
    scope = ""
    if step.memo_scope is not None:
        name = step.memo_scope
        found = machine.reading(lambda: machine.runs.memo_scope(machine.hold, name))
        if found is None:
            return None
        scope = found
    return Memo(memo_key_of(step, call.args, call.kwargs, scope), step.memo_ms, scope)


def remembered(call: StepCall, place: Memo, output: bytes) -> Any:
    """Record that the memo has answered a call; the result."""
    machine = call.machine
    ended = machine.now_ms()
    row = call.row(output=output, memo=1, ended_ms=ended)
    if place.spent is None:
        machine.checkpoint(row, place)
    else:
        machine.checkpoint(row, place, spent=recalled_spends(call, place.spent))
    call.scope.reached_ms = max(call.scope.reached_ms, ended)
    return call.step.form.decode(output)


def await_memo(call: StepCall, key: str) -> None:
    """Wait for the run that computes `key`."""
    due_ms = call.machine.now_ms() + MEMO_DUE_MS
    row = call.row(waited=f"memo {key}", due_ms=due_ms)._replace(attempts=call.attempt - 1)
    call.scope.wait(Wait(call.place, row, due_ms=due_ms))


# -- a transaction in the queue's file -------------------------------------------------------------------------------


def _in_the_queue(call: StepCall) -> Any:
    """The step's rows and its checkpoint: one commit."""
    machine = call.machine
    try:
        return _committed(call)
    except NOT_ITS_FAULT as exc:
        machine.lost(exc)


def _committed(call: StepCall) -> Any:
    machine, step = call.machine, call.step
    undo: Callable[[], None] | None = None
    try:
        with machine.runs.transaction(machine.hold) as transaction:
            call.transaction = transaction
            try:
                with limited(machine, step.timeout_s):
                    value = call.function()(*call.args, **call.kwargs)
                data, value = step.form.kept(value, machine.max_bytes)
                ended, undo = machine.now_ms(), call.untaken()
                row: StepRow = call.row(output=data, ended_ms=ended, marks=machine.take_marks())
                asked = transaction.checkpoint(row)
                if call.spends is not None or call.reserved:
                    settle_with(call, transaction)
            finally:
                call.transaction = None
    except Exception:
        if undo is not None:  # by a constraint that is checked at the commit
            undo()
        raise
    machine.written += 1
    if asked is not None:
        machine.asked = asked
    call.scope.reached_ms = max(call.scope.reached_ms, ended)
    if machine.is_strict:
        machine.replay(row)
    return value
