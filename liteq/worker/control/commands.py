"""The commands of remote control. Names and answers are Celery's where it has the command.

Each is called in the worker's loop with its Panel as `state`; `{"ok": ...}` and `{"error": ...}` are the forms
that its command line shows. The commands of `inspect` are in `inspect.py`.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from liteq.app.control.replies import stamps_of
from liteq.message import Cancel, Flag, Lease, Release
from liteq.policy.rates import per_second
from liteq.policy.times import limits_s
from liteq.states import UNSTARTED
from liteq.utils.durations import seconds
from liteq.worker.control.panel import Panel, control_command
from liteq.worker.pool import IN_ONE_PROCESS
from liteq.worker.revoking import has_stamp, signal_number

__all__: list[str] = []

logger = logging.getLogger("liteq.worker")

AUTOSCALED = "{} is not supported with autoscale. Adjust autoscale range instead."


def ok(text: str) -> dict[str, str]:
    return {"ok": text}


def error(text: str) -> dict[str, str]:
    return {"error": text}


# -- tasks -----------------------------------------------------------------------------------------------------------


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(
    state: Panel, task_id: Any = None, terminate: bool = False, signal: Any = None, **_kwargs: Any
) -> dict[str, str]:
    """Do not start these messages; with `terminate`, stop the processes that run them."""
    ids = set(task_id) if isinstance(task_id, (list, tuple)) else {task_id}
    signum = signal_number(signal) if terminate else None
    state.revoked |= ids
    stopped, refused = _stop(state, lambda lease: lease.id in ids, signum)
    _cancel_waiting(state, ids - {lease.id for lease in stopped})
    if refused:
        return refused
    if signum is None:
        logger.info("Tasks flagged as revoked: %s", ", ".join(sorted(ids)))
        return ok(f"tasks {', '.join(sorted(ids))} flagged as revoked")
    if not stopped:
        return ok("terminate: tasks unknown")
    return ok(f"terminate: {', '.join(sorted(lease.id for lease in stopped))}")


@control_command(args=[("signal", str)], variadic="task_id", signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: Panel, signal: Any = None, task_id: Any = None, **_kwargs: Any) -> dict[str, str]:
    """As `revoke` with `terminate`."""
    answer: dict[str, str] = revoke(state, task_id, terminate=True, signal=signal)
    return answer


@control_command(visible=False)
def end_runs(state: Panel, tokens: Iterable[int] = (), **_kwargs: Any) -> dict[str, str]:
    """Kill the processes that execute these leases: their runs were terminated, in the file they have ended."""
    wanted = {lease.token for lease in state.pool.leases()}.intersection(tokens)
    state.pool.withdraw(wanted)
    if wanted and not state.pool.terminate(wanted, signal_number("SIGKILL"), lambda _lease: Release()):
        return error(f"the pool {state.pool.name} kills nothing: its runs are left at their next step")
    return ok(f"{len(wanted)} ended")


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(
    state: Panel, headers: Any = None, terminate: bool = False, signal: Any = None, **_kwargs: Any
) -> dict[str, str]:
    """Do not start messages with such a stamp; with `terminate`, stop the processes that run them."""
    if not isinstance(headers, dict):
        headers = {name: value for name, _, value in (text.partition("=") for text in headers or ())}
    signum = signal_number(signal) if terminate else None
    wanted = {header: stamps_of(value) for header, value in headers.items()}
    for header, stamps in wanted.items():
        state.stamps_revoked(header, stamps)
    stopped, refused = _stop(state, lambda lease: has_stamp(lease, wanted), signum)
    if refused:
        return refused
    if signum is None:
        return ok(f"headers {headers} flagged as revoked, but not terminated")
    return ok(f"headers {headers} revoked" if stopped else f"headers {headers} were not terminated")


def _cancel_waiting(state: Panel, ids: set[Any]) -> None:
    """Cancel those of `ids` that wait: a worker may have given one back since the caller found it to be running."""
    records = state.storage.reader.find_many([id_ for id_ in ids if isinstance(id_, str)])
    waiting = [id_ for id_, record in records.items() if record.state in UNSTARTED]
    if waiting:
        state.storage.cancel(waiting)


def _stop(
    state: Panel, which: Callable[[Lease], bool], signum: int | None
) -> tuple[list[Lease], dict[str, str] | None]:
    """End those leases of this worker: one that has not started at once, a running one by `signum`, if given.

    Returns the leases found, and an error where the pool cannot do it. A run that has begun was asked to end, in the
    file: without a signal it is let alone, so that it can undo what it has done.
    """
    if signum is None:
        wanted, which = which, lambda lease: not lease.flags & Flag.HISTORY and wanted(lease)
    recalled = state.consumer.recall(which)
    state.consumer.settle_later([(lease, state.cancelled(lease, terminated=False)) for lease in recalled])
    found = [lease for lease in state.pool.leases() if which(lease)]
    tokens = {lease.token for lease in found}
    if not tokens:
        return recalled, None
    withdrawn = state.pool.withdraw(tokens)
    state.consumer.settle_later([(lease, state.cancelled(lease, terminated=False)) for lease in withdrawn])
    running = tokens - {lease.token for lease in withdrawn}
    if signum is None or not running:
        return found, None

    def terminated(lease: Lease) -> Cancel:
        return state.cancelled(lease, terminated=True, signum=signum)

    if state.pool.terminate(running, signum, terminated):
        return found, None
    return found, error(f"the pool {state.pool.name} cannot stop a task that runs: that needs the prefork pool")


@control_command(
    args=[("task_name", str), ("soft", seconds), ("hard", seconds)], signature="<task_name> <soft_secs> [hard_secs]"
)
def time_limit(
    state: Panel, task_name: str | None = None, hard: float | None = None, soft: float | None = None, **_kwargs: Any
) -> dict[str, str]:
    """Set a task's time limits for calls that start from now on."""
    task = state.app.tasks.get(task_name)
    if task is None:
        return error("unknown task")
    try:
        hard, soft = limits_s(hard, soft)
    except (TypeError, ValueError) as exc:
        return error(str(exc))
    if (method := state.worker.start_method) != "fork" and state.pool.name not in IN_ONE_PROCESS:
        return error(f"processes of {method} take the limits from the code: change them there, and restart the worker")
    task.soft_time_limit, task.time_limit = soft, hard
    state.pool.renew()  # the processes were forked with the old ones
    logger.info("New time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return ok("time limits set successfully")


@control_command(
    args=[("task_name", str), ("rate_limit", str)], signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>"
)
def rate_limit(state: Panel, task_name: str | None = None, rate_limit: Any = None, **_kwargs: Any) -> dict[str, str]:
    """Set how many of a task this worker starts: "10/m", "3/s", a number a second; 0 or nothing: any."""
    try:
        per_second(rate_limit)
    except ValueError as exc:
        return error(f"Invalid rate limit string: {exc!r}")
    if task_name not in state.app.tasks:
        logger.error("Rate limit attempt for unknown task %s", task_name)
        return error("unknown task")
    state.app.tasks[task_name].rate_limit = rate_limit
    state.worker.running.rates.reset()
    if not per_second(rate_limit):
        logger.info("Rate limits disabled for tasks of type %s", task_name)
        return ok("rate limit disabled successfully")
    logger.info("New rate limit for tasks of type %s: %s.", task_name, rate_limit)
    return ok("new rate limit set successfully")


# -- queues ----------------------------------------------------------------------------------------------------------


@control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
)
def add_consumer(state: Panel, queue: str, **_kwargs: Any) -> dict[str, str]:
    """Take from one more queue: a name, NAME=WEIGHT, or a glob."""
    order = state.consumer.order
    if order.takes(queue):
        return ok(f"already consuming from {queue!r}")
    try:
        order.add(queue)
    except ValueError as exc:
        return error(str(exc))
    state.consumer.look()
    state.heartbeat.soon()
    return ok(f"add consumer {queue}")


@control_command(args=[("queue", str)], signature="<queue>")
def cancel_consumer(state: Panel, queue: str, **_kwargs: Any) -> dict[str, str]:
    """Stop taking from a queue."""
    state.consumer.order.remove(queue)
    state.heartbeat.soon()
    return ok(f"no longer consuming from {queue}")


# -- the worker ------------------------------------------------------------------------------------------------------


@control_command
def heartbeat(state: Panel) -> dict[str, str]:
    """Beat now."""
    state.heartbeat.soon()
    return ok("heartbeat sent")


@control_command
def quiet(state: Panel) -> dict[str, str]:
    """Claim no more, finish what runs, and stay; `wake` ends it."""
    if state.consumer.quiet:
        return ok("already quiet")
    state.consumer.hush(True)
    state.heartbeat.soon()
    logger.warning("worker: quiet, asked by remote control: it claims no more until it is woken")
    return ok("claims no more")


@control_command
def wake(state: Panel) -> dict[str, str]:
    """Claim again, after `quiet`."""
    if not state.consumer.quiet:
        return ok("was not quiet")
    state.consumer.hush(False)
    state.heartbeat.soon()
    logger.warning("worker: awake again, asked by remote control")
    return ok("claims again")


@control_command
def shutdown(state: Panel, msg: str = "asked by remote control", **_kwargs: Any) -> dict[str, str]:
    """End, when the running tasks have finished."""
    logger.warning("worker: %s", msg)
    state.worker.stop()
    return ok("shutting down")


@control_command(args=[("level", str)], signature="<level (e.g., DEBUG)>")
def log_level(_state: Panel, level: str = "INFO", **_kwargs: Any) -> dict[str, str]:
    """Log from this level on: the worker, and the processes of its pool that start from now on."""
    number = logging.getLevelNamesMapping().get(str(level).upper())
    if number is None:
        return error(f"unknown level {level!r}; use DEBUG, INFO, WARNING or ERROR")
    logging.getLogger().setLevel(number)
    logger.warning("worker: logs from %s on, asked by remote control", str(level).upper())
    return ok(f"logs from {str(level).upper()} on")


# -- the pool --------------------------------------------------------------------------------------------------------


@control_command(args=[("n", int)], signature="[N=1]")
def pool_grow(state: Panel, n: int = 1, **_kwargs: Any) -> dict[str, str]:
    """Execute `n` more tasks at a time."""
    if refused := _cannot_resize(state, "pool_grow", n):
        return refused
    state.pool.resize(state.pool.size + int(n))
    state.consumer.look()
    return ok("pool will grow")


@control_command(args=[("n", int)], signature="[N=1]")
def pool_shrink(state: Panel, n: int = 1, **_kwargs: Any) -> dict[str, str]:
    """Execute `n` fewer tasks at a time, at least one."""
    if refused := _cannot_resize(state, "pool_shrink", n):
        return refused
    state.pool.resize(max(1, state.pool.size - int(n)))
    return ok("pool will shrink")


def _cannot_resize(state: Panel, command: str, n: Any) -> dict[str, str] | None:
    if state.worker.running.autoscaler is not None:
        return error(AUTOSCALED.format(command))
    if state.pool.name == "solo":
        return error("the solo pool has one executor")
    if int(n) < 1:
        return error(f"{command} takes a number from 1 up, not {n!r}")
    return None


@control_command
def pool_restart(
    state: Panel, modules: Iterable[str] | None = None, reload: bool = False, **_kwargs: Any
) -> dict[str, str]:
    """Replace the processes, each once it has nothing to do, after importing `modules` (with `reload`: anew).

    Raises ValueError for `modules` without the setting `worker_pool_restarts`: a row of the file would choose the code
    that this process runs.
    """
    if modules and not state.app.conf.worker_pool_restarts:
        raise ValueError("pool_restart imports modules only where worker_pool_restarts=True allows it")
    import_modules(modules or (), reload=reload)
    state.worker.running.rates.reset()
    state.worker.running.watch.reset()
    state.pool.renew()
    return ok("reload started")


@control_command(args=[("max", int), ("min", int)], signature="[max [min]]")
def autoscale(state: Panel, max: int | None = None, min: int | None = None, **_kwargs: Any) -> dict[str, str]:  # noqa: A002
    """Set the limits of the pool's size, where it was started with --autoscale."""
    if state.worker.running.autoscaler is None:
        raise ValueError("Autoscale not enabled")
    most, least = state.worker.running.autoscaler.update(max, min)
    return ok(f"autoscale now max={most} min={least}")


def import_modules(modules: Iterable[str], *, reload: bool) -> None:
    """Import `modules`, in this process; with `reload`, those that were imported before are executed anew."""
    known = set(sys.modules)
    for name in modules:
        module = importlib.import_module(name)
        if reload and name in known:
            importlib.reload(module)


# -- elections, events -----------------------------------------------------------------------------------------------


@control_command
def election(state: Panel, id: str, action: Any = None, **_kwargs: Any) -> None:  # noqa: A002
    """Send the signature `action`, if this is the worker among the living that has been there longest.

    Workers of Celery's on the same file do not stand: they elect among themselves.
    """
    living = [worker for worker in state.app.control.living() if not worker.facts.get("celery")]
    if action is not None and min((worker.id for worker in living), default=None) == state.heartbeat.worker:
        logger.info("election %s: won by this worker", id)
        state.app.signature(action).apply_async()


@control_command
def enable_events(state: Panel) -> dict[str, str]:
    """Write events of tasks."""
    state.heartbeat.soon()  # `liteq events` asks the file whether anybody writes some
    return ok("task events enabled" if state.worker.running.events.enable() else "task events already enabled")


@control_command
def disable_events(state: Panel) -> dict[str, str]:
    """Write no more events of tasks."""
    state.heartbeat.soon()
    return ok("task events disabled" if state.worker.running.events.disable() else "task events already disabled")
