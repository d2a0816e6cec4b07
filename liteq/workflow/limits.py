"""Limits of steps: a place and a token under each key before an attempt, and answers of others that say "later"."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson

from liteq.exceptions import LeaseLost, RateLimited, StorageError
from liteq.execution.hushed import quoted
from liteq.message import Flag, Suspend
from liteq.policy.limited import Later, later_of
from liteq.workflow.machine import Machine, Wait

if TYPE_CHECKING:
    import asyncio

    from liteq.workflow.attempts import Attempts

__all__ = ["alone", "keys_of", "leave_places", "put_off", "put_off_run", "take_places"]

logger = logging.getLogger("liteq.workflow")

FIRST_LOOK_MS = 1_000  # for a place that became free while the run let go of its worker
LOOK_MS = 30_000  # ... from then on: it is woken when one is free
MET = "it was asked for"


def keys_of(call: Attempts) -> Sequence[str]:
    """The keys by which the step's limits are counted. Raises what the functions among them raise."""
    keyed = call.step.keyed
    text = None if keyed is None else keyed.keys_of(call.args, call.kwargs)
    return () if text is None else orjson.loads(text)[1:]


def take_places(call: Attempts) -> Sequence[str]:
    """Take a place and a token under each key of the step; the keys of the places. Where one lacks, the run waits.

    The first claim of a step that was sent has taken them; each later attempt takes a token.
    """
    machine = call.machine
    if machine.is_step and not (machine.has_begun or machine.lease.flags & Flag.HISTORY):
        machine.has_begun = True
        return ()
    keys = keys_of(call)
    if not keys:
        return ()
    taken = machine.reading(lambda: machine.runs.take_places(machine.hold, keys, again=machine.is_step))
    if taken.lacks is None:
        return taken.keys  # type: ignore[no-any-return]
    waited = f"limit {taken.lacks}"
    before = machine.rows.get(call.place)
    again = before is not None and before.waited == waited
    due_ms = taken.at_ms or machine.now_ms() + (LOOK_MS if again else FIRST_LOOK_MS)
    row = call.row(waited=waited, due_ms=due_ms)._replace(attempts=call.attempt - 1)
    call.scope.wait(Wait(call.place, row, due_ms=due_ms))


def leave_places(machine: Machine, keys: Sequence[str]) -> None:
    """Give places back; where that fails, they go with the run's lease."""
    if keys:
        try:
            machine.runs.leave_places(machine.hold, keys)
        except (LeaseLost, StorageError) as exc:
            logger.warning("run %s keeps its places under %s until it lets go: %s", machine.run_id, keys, exc)


@asynccontextmanager
async def alone(call: Attempts) -> AsyncIterator[None]:
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


def put_off(call: Attempts, exc: BaseException) -> None:
    """Let the run wait where `exc` asks to come later; no attempt is counted. Returns where it says no such thing.

    The key that it names is paused for all, else the first of the step's.
    """
    machine, step = call.machine, call.step
    later = later_of(exc, machine.now_ms())
    if later is None or (isinstance(exc, step.give_up_on) and not isinstance(exc, RateLimited)):
        return
    text = "step %r of run %s waits for %.3g s: %.1000s"
    logger.info(text, step.name, machine.run_id, later.wait_s, quoted(exc))
    due_ms = _paused_until(machine, later, keys_of(call))
    call.wait(call.row(due_ms=due_ms)._replace(attempts=call.attempt - 1), due_ms)


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
    from liteq.storage.limits.ledger import parsed

    record = machine.reading(lambda: machine.app.storage.reader.find(machine.run_id))
    return () if record is None else parsed(record.keys).limits


def _paused_until(machine: Machine, later: Later, keys: Sequence[str]) -> int:
    """Pause the key that was named, else the first of `keys`; when that is over, in ms."""
    key = later.key or next(iter(keys), None)
    if key is not None:
        machine.reading(lambda: machine.app.storage.limits.pause(key, later.wait_s, MET))
    return machine.now_ms() + int(later.wait_s * 1000)
