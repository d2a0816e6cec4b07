"""Limits of steps: a place and a token under each key before an attempt, and answers of others that say "later"."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson

from liteq.exceptions import LeaseLost, RateLimited, StorageError, text_of
from liteq.policy.limited import later_of
from liteq.workflow.machine import Machine, Wait

if TYPE_CHECKING:
    from liteq.workflow.attempts import Attempts

__all__ = ["alone", "keys_of", "leave_places", "put_off", "take_places"]

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

    The message of a step that was sent has them already.
    """
    machine = call.machine
    keys = () if machine.is_step else keys_of(call)
    if not keys:
        return ()
    taken = machine.reading(lambda: machine.runs.take_places(machine.hold, keys))
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
    key = later.key or next(iter(keys_of(call)), None)
    text = "step %r of run %s waits for %.3g s: %.1000s"
    logger.info(text, step.name, machine.run_id, later.wait_s, text_of(exc))
    if key is not None:
        machine.reading(lambda: machine.app.storage.limits.pause(key, later.wait_s, MET))
    due_ms = machine.now_ms() + int(later.wait_s * 1000)
    row = call.row(due_ms=due_ms)._replace(attempts=call.attempt - 1)
    call.scope.wait(Wait(call.place, row, due_ms=due_ms))
