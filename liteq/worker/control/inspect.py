"""The commands of `inspect`: answers of a worker about itself and its leases. Their shapes are Celery's.

Each is called in the worker's loop with its Panel as `state`.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from liteq._version import __version__
from liteq.clock import from_ms
from liteq.context.display import shown_settings
from liteq.execution.shown import with_arguments
from liteq.message import Lease
from liteq.monitor.messages import shown
from liteq.routing.queues import Exchange, Queue, declared_queues
from liteq.states import State
from liteq.storage.reading.inspect import Record
from liteq.utils.names import is_built_in
from liteq.worker.control.panel import Panel, inspect_command
from liteq.worker.pool import width

__all__: list[str] = []

SHOWN = 1_000  # scheduled messages in one answer
SHOWN_OF_TASKS = (
    "exchange",
    "routing_key",
    "rate_limit",
)  # shown by `registered` by default
SAMPLES: deque[str] = deque(maxlen=100)  # of the memory in use, one for each `memsample`


@inspect_command(default_timeout=0.2)
def ping(_state: Panel, **_kwargs: Any) -> dict[str, str]:
    """Answer `pong`."""
    return {"ok": "pong"}


@inspect_command
def active_queues(state: Panel) -> list[dict[str, Any]]:
    """List the queues that it takes from, each with its `weight` beside the others."""
    declared, weights = state.app.amqp.queues, state.consumer.order.weights
    found = (declared.get(name) or Queue(name, Exchange(name)) for name in sorted(state.consumer.queues))
    return [{**queue.as_dict(recurse=True), "weight": weights.get(queue.name, 1)} for queue in found]


@inspect_command(alias="dump_active")
def active(state: Panel, **_kwargs: Any) -> list[dict[str, Any]]:
    """List the running tasks; the run of a workflow with the step that it executes."""
    now, wall_s = time.monotonic(), state.app.clock.now_ms() / 1000
    steps = {step.token: {"step": step.name} for step in state.pool.steps()}
    return [
        {
            **describe(state, lease),
            "time_start": wall_s - (now - since),
            "worker_pid": pid,
            **steps.get(lease.token, {}),
        }
        for lease, since, pid in state.pool.running()
    ]


@inspect_command(alias="dump_reserved")
def reserved(state: Panel, **_kwargs: Any) -> list[dict[str, Any]]:
    """List the leases that it has not started."""
    running = _tokens_of_running(state)
    return [describe(state, lease) for lease in state.pool.leases() if lease.token not in running]


@inspect_command(alias="dump_schedule")
def scheduled(state: Panel, **_kwargs: Any) -> list[dict[str, Any]]:
    """List the scheduled messages of its queues, which it shares with other workers of these."""
    found = state.worker.running.storage.reader.messages_of(state.consumer.queues, State.SCHEDULED, limit=SHOWN)
    return [
        {
            "eta": from_ms(record.due_ms).isoformat(),
            "priority": record.priority,
            "request": {**describe(state, record), "hostname": state.hostname},
        }
        for record in found
    ]


@inspect_command(variadic="ids", signature="[id1 [id2 [... [idN]]]]")
def query_task(state: Panel, ids: Iterable[str] = (), **_kwargs: Any) -> dict[str, Any]:
    """Find these messages among its leases and the scheduled ones of its queues: `{id: [state, info]}`."""
    wanted = {ids} if isinstance(ids, str) else set(ids)
    running = _tokens_of_running(state)
    held = {
        lease.id: ["active" if lease.token in running else "reserved", describe(state, lease)]
        for lease in state.pool.leases()
        if lease.id in wanted
    }
    rest = state.worker.running.storage.reader.find_many(sorted(wanted - held.keys()))
    return held | {
        id_: ["scheduled", describe(state, record)]
        for id_, record in rest.items()
        if record.state is State.SCHEDULED and record.queue in state.consumer.queues
    }


@inspect_command(alias="dump_revoked")
def revoked(state: Panel, **_kwargs: Any) -> list[str]:
    """List the ids that it will not start."""
    return sorted(state.revoked)


@inspect_command(alias="dump_tasks", variadic="taskinfoitems", signature="[attr1 [attr2 [... [attrN]]]]")
def registered(
    state: Panel, taskinfoitems: Iterable[str] | None = None, builtins: bool = False, **_kwargs: Any
) -> list[str]:
    """List its tasks, with these of their attributes."""
    tasks = state.app.tasks
    names = sorted(name for name in tasks if builtins or not is_built_in(name))
    items = [item for item in taskinfoitems or SHOWN_OF_TASKS if not item.startswith("_")]

    def line(name: str) -> str:
        values = {item: getattr(tasks[name], item, None) for item in items}
        shown = " ".join(f"{item}={value}" for item, value in values.items() if value is not None)
        return f"{name} [{shown}]" if shown else name

    return [line(name) for name in names]


@inspect_command(
    alias="dump_conf", args=[("with_defaults", lambda text: text.lower() in {"1", "true", "yes", "on"})],
    signature="[include_defaults=False]",
)  # fmt: skip
def conf(state: Panel, with_defaults: bool = False, **_kwargs: Any) -> dict[str, Any]:
    """Show its settings."""
    table = shown_settings(state.app, with_defaults=with_defaults)
    plain = (str, int, float, bool, type(None))
    shown: dict[str, Any] = {name: value if isinstance(value, plain) else repr(value) for name, value in table.items()}
    if "task_queues" in table:  # not out of the table: a routing key may be hidden there
        queues = declared_queues(state.app.conf.task_queues).values()
        shown["task_queues"] = [queue.as_dict(recurse=True) for queue in queues]
    return shown


@inspect_command
def report(state: Panel, **_kwargs: Any) -> dict[str, str]:
    """Show versions, settings and tasks for a bug report."""
    return {"ok": state.app.bugreport()}


@inspect_command
def clock(state: Panel, **_kwargs: Any) -> dict[str, int]:
    """Show its clock, in ms since the epoch."""
    return {"clock": state.app.clock.now_ms()}


@inspect_command(visible=False)
def hello(state: Panel, from_node: str | None = None, **_kwargs: Any) -> dict[str, Any] | None:
    """Show the ids that it knows as revoked, and its clock."""
    if from_node == state.hostname:
        return None
    return {"revoked": sorted(state.revoked), "clock": state.app.clock.now_ms()}


@inspect_command
def memsample(_state: Panel, **_kwargs: Any) -> str | None:
    """Measure the memory that its main process has in use; None where the platform has no figure."""
    used = _memory_bytes()
    if used is None:
        return None
    SAMPLES.append(f"{used / 2**20:.1f}MB")
    return SAMPLES[-1]


@inspect_command(args=[("samples", int)], signature="[n_samples=10]")
def memdump(_state: Panel, samples: int = 10, **_kwargs: Any) -> str:
    """Show the last of its memory samples, a line each."""
    return "\n".join(list(SAMPLES)[-samples:])


@inspect_command(args=[("num", int), ("type", str)], signature="[object_count=200 [max_depth=10]]", visible=False)
def objgraph(_state: Panel, **_kwargs: Any) -> dict[str, str]:
    """Refuse, and name the commands that show its memory."""
    return {"error": "a worker draws no graphs of its objects; use `memsample` and `memdump` to see its memory"}


def _memory_bytes() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - a file of the kernel
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = _rusage().get("maxrss")  # macOS: bytes, and the peak
        return None if peak is None else int(peak)


@inspect_command
def stats(state: Panel, **_kwargs: Any) -> dict[str, Any]:
    """Show counters, pool, uptime and resource usage."""
    info = state.worker.info(state.pool)
    return {
        "pid": os.getpid(),
        "total": dict(state.consumer.started_by_task()),
        "clock": str(state.app.clock.now_ms()),
        "uptime": int(time.monotonic() - state.started_at),
        "processed": info["processed"],
        "quiet": info["quiet"],
        "prefetch_count": state.pool.size,
        "pool": {
            "implementation": f"liteq:{state.pool.name}",
            "max-concurrency": state.pool.size * width(state.pool),
            "processes": state.pool.pids(),
            "timeouts": [limit or 0 for limit in reversed(state.worker.limits)],
            "max-tasks-per-child": state.worker.max_tasks or "N/A",
            "put-guarded-by-semaphore": False,
            "writes": {},
        },
        **({} if state.worker.running.autoscaler is None else {"autoscaler": state.worker.running.autoscaler.info()}),
        "broker": state.app.connection().as_dict(),
        **{name: info[name] for name in ("files", "set_aside") if name in info},
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


def describe(state: Panel, lease: Lease | Record) -> dict[str, Any]:
    """A message as `inspect` shows it: one of its leases, or a scheduled one."""
    call = shown(state.app, with_arguments(state.app, lease) if isinstance(lease, Lease) else lease)
    return {
        "id": lease.id,
        "name": lease.task,
        "type": lease.task,
        "args": call.args,
        "kwargs": call.kwargs,
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
