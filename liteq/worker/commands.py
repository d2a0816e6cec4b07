"""The commands of remote control. Names and answers are Celery's where it has the command.

Each is called in the worker's loop with its Panel as `state`; `{"ok": ...}` and `{"error": ...}` are what its command
line shows.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Iterable
from typing import Any

from liteq._version import __version__
from liteq.clock import from_ms
from liteq.message import Cancel, Lease
from liteq.rates import per_second
from liteq.serialization import decode, kind_of
from liteq.states import State
from liteq.worker.control import Panel, control_command, inspect_command
from liteq.worker.revoking import signal_number

__all__: list[str] = []

logger = logging.getLogger("liteq.worker")

SHOWN = 1_000  # scheduled messages in one answer


def ok(text: str) -> dict[str, str]:
    return {"ok": text}


def error(text: str) -> dict[str, str]:
    return {"error": text}


# -- tasks -----------------------------------------------------------------------------------------------------------


@control_command
def revoke(
    state: Panel, task_id: Any = None, terminate: bool = False, signal: Any = None, **_kwargs: Any
) -> dict[str, str]:
    """Do not start these messages; with `terminate`, stop the processes that run them."""
    ids = set(task_id) if isinstance(task_id, (list, tuple)) else {task_id}
    state.revoked |= ids
    signum = signal_number(signal) if terminate else None
    tokens = {lease.token for lease in state.pool.held() if lease.id in ids}
    if not tokens:
        return ok(f"tasks {', '.join(sorted(ids))} flagged as revoked")
    withdrawn = state.pool.withdraw(tokens)
    state.consumer.settle_later([(lease, state.cancelled(lease, terminated=False)) for lease in withdrawn])
    if signum is None:
        return ok(f"{len(ids)} tasks flagged as revoked")

    def terminated(lease: Lease) -> Cancel:
        return state.cancelled(lease, terminated=True, signum=signum)

    running = tokens - {lease.token for lease in withdrawn}
    if running and not state.pool.terminate(running, signum, terminated):
        return error(f"the pool {state.pool.name} cannot stop a task that runs: that needs the prefork pool")
    return ok(f"terminate: {', '.join(sorted(ids))}")


@control_command
def terminate(state: Panel, signal: Any = None, task_id: Any = None, **_kwargs: Any) -> dict[str, str]:
    """As `revoke` with `terminate`."""
    answer: dict[str, str] = revoke(state, task_id, terminate=True, signal=signal)
    return answer


@control_command
def time_limit(
    state: Panel, task_name: str | None = None, hard: float | None = None, soft: float | None = None, **_kwargs: Any
) -> dict[str, str]:
    """Set a task's time limits for what starts from now on."""
    task = state.app.tasks.get(task_name)
    if task is None:
        return error("unknown task")
    task.soft_time_limit, task.time_limit = soft, hard
    state.pool.renew()  # what executes was forked with the old ones
    logger.info("New time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return ok("time limits set successfully")


@control_command
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
    state.worker.rates.reset()
    if not per_second(rate_limit):
        logger.info("Rate limits disabled for tasks of type %s", task_name)
        return ok("rate limit disabled successfully")
    logger.info("New rate limit for tasks of type %s: %s.", task_name, rate_limit)
    return ok("new rate limit set successfully")


# -- queues ----------------------------------------------------------------------------------------------------------


@control_command
def add_consumer(state: Panel, queue: str, **_kwargs: Any) -> dict[str, str]:
    """Take from `queue` too."""
    if queue in state.consumer.queues:
        return ok(f"already consuming from {queue!r}")
    state.consumer.add_queue(queue)
    return ok(f"add consumer {queue}")


@control_command
def cancel_consumer(state: Panel, queue: str, **_kwargs: Any) -> dict[str, str]:
    """Take from `queue` no more."""
    state.consumer.remove_queue(queue)
    return ok(f"no longer consuming from {queue}")


@inspect_command
def active_queues(state: Panel) -> list[dict[str, Any]]:
    """The queues that it takes from."""
    return [
        {
            "name": name, "exchange": {"name": name, "type": "direct"}, "routing_key": name, "durable": True,
            "exclusive": False, "auto_delete": False, "no_ack": False, "alias": None,
        }
        for name in sorted(state.consumer.queues)
    ]  # fmt: skip


# -- the worker ------------------------------------------------------------------------------------------------------


@inspect_command
def ping(_state: Panel, **_kwargs: Any) -> dict[str, str]:
    """Whether it lives."""
    return ok("pong")


@control_command
def heartbeat(state: Panel) -> dict[str, str]:
    """Beat now."""
    state.heartbeat.due_at = 0.0
    return ok("heartbeat sent")


@control_command
def shutdown(state: Panel, msg: str = "asked by remote control", **_kwargs: Any) -> dict[str, str]:
    """End, when what runs has finished."""
    logger.warning("worker: %s", msg)
    state.worker.stop()
    return ok("shutting down")


@control_command
def pool_grow(state: Panel, n: int = 1, **_kwargs: Any) -> dict[str, str]:
    """Execute `n` more tasks at a time."""
    if state.pool.name == "solo":
        return error("the solo pool has one executor")
    state.pool.resize(state.pool.size + int(n))
    state.consumer.look()
    return ok("pool will grow")


@control_command
def pool_shrink(state: Panel, n: int = 1, **_kwargs: Any) -> dict[str, str]:
    """Execute `n` fewer tasks at a time."""
    if state.pool.name == "solo":
        return error("the solo pool has one executor")
    state.pool.resize(max(1, state.pool.size - int(n)))
    return ok("pool will shrink")


@control_command
def pool_restart(state: Panel, **_kwargs: Any) -> dict[str, str]:
    """Replace the processes, each once it has nothing to do."""
    state.pool.renew()
    return ok("reload started")


@control_command
def autoscale(_state: Panel, **_kwargs: Any) -> dict[str, str]:
    """There is none; says so."""
    return error("autoscaling is not part of this version: use pool_grow and pool_shrink")


@control_command
def enable_events(state: Panel) -> dict[str, str]:
    """Tell what becomes of tasks."""
    state.app.conf["worker_send_task_events"] = True
    return ok("task events enabled")


@control_command
def disable_events(state: Panel) -> dict[str, str]:
    """Tell no more."""
    state.app.conf["worker_send_task_events"] = False
    return ok("task events disabled")


# -- questions -------------------------------------------------------------------------------------------------------


@inspect_command
def active(state: Panel, **_kwargs: Any) -> list[dict[str, Any]]:
    """What runs."""
    now, wall_s = time.monotonic(), state.app.clock.now_ms() / 1000
    return [
        {**describe(state, lease), "time_start": wall_s - (now - since), "worker_pid": pid}
        for lease, since, pid in state.pool.running()
    ]


@inspect_command
def reserved(state: Panel, **_kwargs: Any) -> list[dict[str, Any]]:
    """What it holds and has not started."""
    running = _tokens_of_running(state)
    return [describe(state, lease) for lease in state.pool.held() if lease.token not in running]


@inspect_command
def scheduled(state: Panel, **_kwargs: Any) -> list[dict[str, Any]]:
    """What waits for its time in the queues that it takes from: shared with other workers of these."""
    found = state.worker.storage.messages(State.SCHEDULED, limit=SHOWN)
    return [
        {
            "eta": from_ms(record.due_ms).isoformat(),
            "priority": record.priority,
            "request": {
                **_call(state, record.id, record.task, record.payload),
                "hostname": state.hostname,
                "delivery_info": {"routing_key": record.queue, "priority": record.priority},
            },
        }
        for record in found
        if record.queue in state.consumer.queues
    ]


@inspect_command
def query_task(state: Panel, ids: Iterable[str] = (), **_kwargs: Any) -> dict[str, Any]:
    """Which of these it holds: `{id: [state, info]}`."""
    wanted = {ids} if isinstance(ids, str) else set(ids)
    running = _tokens_of_running(state)
    return {
        lease.id: ["active" if lease.token in running else "reserved", describe(state, lease)]
        for lease in state.pool.held()
        if lease.id in wanted
    }


@inspect_command
def revoked(state: Panel, **_kwargs: Any) -> list[str]:
    """The ids that it will not start."""
    return sorted(state.revoked)


@inspect_command
def registered(state: Panel, taskinfoitems: Iterable[str] = (), builtins: bool = False, **_kwargs: Any) -> list[str]:
    """Its tasks, with these of their attributes."""
    tasks = state.app.tasks
    names = sorted(name for name in tasks if builtins or not name.startswith("celery."))
    items = list(taskinfoitems or ())

    def line(name: str) -> str:
        values = {item: getattr(tasks[name], item, None) for item in items}
        shown = " ".join(f"{item}={value}" for item, value in values.items() if value is not None)
        return f"{name} [{shown}]" if shown else name

    return [line(name) for name in names]


@inspect_command
def conf(state: Panel, with_defaults: bool = False, **_kwargs: Any) -> dict[str, Any]:
    """Its settings."""
    table = state.app.conf.table(with_defaults=with_defaults)
    plain = (str, int, float, bool, type(None))
    return {name: value if isinstance(value, plain) else repr(value) for name, value in table.items()}


@inspect_command
def report(state: Panel, **_kwargs: Any) -> dict[str, str]:
    """Versions and platform."""
    return ok(f"liteq {__version__}, Python {platform.python_version()}, {platform.platform()}, pool {state.pool.name}")


@inspect_command
def clock(state: Panel, **_kwargs: Any) -> dict[str, int]:
    """Its clock, in ms since the epoch."""
    return {"clock": state.app.clock.now_ms()}


@inspect_command
def hello(state: Panel, from_node: str | None = None, **_kwargs: Any) -> dict[str, Any] | None:
    """What it knows as revoked, and its clock."""
    if from_node == state.hostname:
        return None
    return {"revoked": sorted(state.revoked), "clock": state.app.clock.now_ms()}


@inspect_command
def stats(state: Panel, **_kwargs: Any) -> dict[str, Any]:
    """Counters, pool, uptime, resource usage."""
    info = state.worker.info()
    return {
        "pid": os.getpid(),
        "total": dict(state.consumer.started_by_task),
        "clock": str(state.app.clock.now_ms()),
        "uptime": int(time.monotonic() - state.started_at),
        "processed": info["processed"],
        "prefetch_count": state.pool.size,
        "pool": {
            "implementation": f"liteq:{state.pool.name}",
            "max-concurrency": state.pool.size,
            "processes": state.pool.pids(),
            "timeouts": list(state.worker.limits),
        },
        "broker": {"transport": "sqlite", "hostname": state.app.broker_url},
        "rusage": _rusage(),
        "version": __version__,
        "python": info["python"],
    }


def _rusage() -> dict[str, Any]:
    if sys.platform == "win32":
        return {}
    import resource  # not on Windows

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {name.removeprefix("ru_"): getattr(usage, name) for name in dir(usage) if name.startswith("ru_")}


def _tokens_of_running(state: Panel) -> set[int]:
    return {one.lease.token for one in state.pool.running()}


def describe(state: Panel, lease: Lease) -> dict[str, Any]:
    """A message in its hands."""
    return {
        **_call(state, lease.id, lease.task, lease.payload),
        "hostname": state.hostname,
        "worker_pid": None,
        "time_start": None,
        "acknowledged": False,
        "delivery_info": {
            "exchange": "",
            "routing_key": lease.queue,
            "priority": lease.priority,
            "redelivered": bool(lease.crashes),
        },
    }


def _call(state: Panel, id_: str, task: str, payload: bytes) -> dict[str, Any]:
    """What is called how. No envelope is opened here, and no argument shown that its task calls sensitive."""
    sealed = kind_of(payload)
    args, kwargs = decode(payload) if sealed is None else ([sealed], {})
    known = state.app.tasks.get(task)
    if known is not None and sealed is None:
        args, kwargs = known.redacted(args, kwargs)
    return {"id": id_, "name": task, "type": task, "args": args, "kwargs": kwargs}
