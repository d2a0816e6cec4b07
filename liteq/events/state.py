"""The picture that events give: which workers there are, and where each task is. Attributes are Celery's."""

from __future__ import annotations

import bisect
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar
from weakref import WeakSet

from liteq import states
from liteq.events.mapping import MethodOrMapping

__all__ = ["State", "Task", "Worker"]

T = TypeVar("T")

STATE_OF = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
}
# From the last to the first: an event of an earlier state does not undo a later one when they arrive out of order.
ORDER = (
    states.SUCCESS, states.FAILURE, None, states.REVOKED, states.STARTED, states.RECEIVED, states.REJECTED,
    states.RETRY, states.PENDING,
)  # fmt: skip
KEPT_OF_LATE = {
    states.RECEIVED: ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"),
    states.PENDING: ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires", "exchange"),
}
HEARTBEATS = 4
EXPIRE_WINDOW = 2.0  # of the heartbeat's interval


def _rank(state: str) -> int:
    return ORDER.index(state) if state in ORDER else ORDER.index(None)


class Worker:
    """A worker, by its events. Equal by `hostname`."""

    def __init__(self, hostname: str | None = None, pid: int | None = None, freq: float = 60, **fields: Any) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self.heartbeats: list[float] = []
        self.clock = 0
        self.active: int | None = None
        self.processed: int | None = None
        self.loadavg: Any = None
        self.sw_ident: str | None = None
        self.sw_ver: str | None = None
        self.sw_sys: str | None = None
        self.update(fields)

    def update(self, fields: dict[str, Any], **more: Any) -> None:
        """Set attributes."""
        self.__dict__.update(fields, **more)

    def event(
        self,
        subject: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] = {},
    ) -> None:
        """Take in one of its events; `subject` is the type without its group."""
        self.update(dict(fields))
        if subject == "offline":
            self.heartbeats.clear()
        elif timestamp and local_received:
            bisect.insort(self.heartbeats, local_received)
            del self.heartbeats[:-HEARTBEATS]

    @property
    def heartbeat_expires(self) -> float:
        """Until when it counts as alive, in seconds since the epoch."""
        return self.heartbeats[-1] + float(self.freq) * EXPIRE_WINDOW

    @property
    def alive(self) -> bool:
        return bool(self.heartbeats) and time.time() < self.heartbeat_expires  # noqa: TID251 - against time stamps

    @property
    def status_string(self) -> str:
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Worker) and self.hostname == other.hostname

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"


class Task:
    """A task, by its events. Equal by `uuid`.

    `sent`, `received`, `started`, `succeeded`, `failed`, `retried`, `revoked` and `rejected` are when that happened, in
    seconds since the epoch, None where it did not.
    """

    FIELDS = (
        "uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried", "revoked",
        "args", "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp", "runtime",
        "traceback", "exchange", "routing_key", "clock", "client", "root_id", "parent_id", "children",
    )  # fmt: skip
    INFO = (
        "args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange", "routing_key",
        "root_id", "parent_id",
    )  # fmt: skip

    client: Any
    worker: Any

    def __init__(self, uuid: str | None = None, cluster_state: State | None = None, **fields: Any) -> None:
        self.__dict__.update(dict.fromkeys(self.FIELDS))
        self.uuid = uuid
        self.cluster_state = cluster_state
        self.state = states.PENDING
        self.clock = 0
        self.children: WeakSet[Task] = WeakSet()  # weak: the state forgets tasks whose parent it has
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        """Fields of events of one's own are attributes too; this is for those that have not come."""
        raise AttributeError(f"no event of this task had a field {name!r}")

    def event(
        self,
        subject: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] = {},
    ) -> None:
        """Take in one of its events; `subject` is the type without its group."""
        state = STATE_OF.get(subject, subject.upper())
        if subject in STATE_OF:
            setattr(self, subject, timestamp)
        late = states.RETRY not in {state, self.state} and _rank(state) > _rank(self.state)
        if late:
            kept = KEPT_OF_LATE.get(state)
            fields = fields if kept is None else {name: fields[name] for name in kept if name in fields}
            self.__dict__.update({name: value for name, value in fields.items() if name not in {"timestamp", "state"}})
        else:
            self.__dict__.update(fields, state=state, timestamp=timestamp)

    def info(self, fields: Any = None, extra: Any = ()) -> dict[str, Any]:
        """Its known fields, for a screen."""
        names = [*(self.INFO if fields is None else fields), *(extra or ())]
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """All of it, plain."""
        return {name: getattr(self, name) for name in self.FIELDS} | {
            "children": [child.uuid for child in self.children],
            "root": self.root_id,
            "parent": self.parent_id,
        }

    @property
    def id(self) -> str | None:
        return self.uuid

    @property
    def ready(self) -> bool:
        return self.state in states.READY_STATES

    @property
    def origin(self) -> Any:
        """The worker that has it, or its sender."""
        return self.client if self.worker is None else self.worker.id

    @property
    def parent(self) -> Task | None:
        return self._relative(self.parent_id)

    @property
    def root(self) -> Task | None:
        return self._relative(self.root_id)

    def _relative(self, uuid: str | None) -> Task | None:
        return self.cluster_state.tasks.get(uuid) if self.cluster_state is not None and uuid else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.uuid == other.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"


_Task: TypeAlias = Task  # inside State these names are its attributes
_Worker: TypeAlias = Worker


class State:
    """Tasks and workers, by the events that `event` was called with.

    `tasks` and `workers` are by id and by name, the oldest first; the oldest leave beyond `max_tasks_in_memory` and
    `max_workers_in_memory`. `callback(state, event)` is called for each event before it is taken in.
    """

    Worker = Worker
    Task = Task

    def __init__(
        self,
        callback: Callable[[State, dict[str, Any]], object] | None = None,
        workers: dict[str, _Worker] | None = None,
        tasks: dict[str, _Task] | None = None,
        taskheap: Any = None,
        max_workers_in_memory: int = 5_000,
        max_tasks_in_memory: int = 10_000,
        on_node_join: Callable[[_Worker], object] | None = None,
        on_node_leave: Callable[[_Worker], object] | None = None,
        tasks_by_type: Any = None,
        tasks_by_worker: Any = None,
    ) -> None:
        self.event_callback = callback
        self.workers: OrderedDict[str, _Worker] = OrderedDict(workers or {})
        self.tasks: OrderedDict[str, _Task] = OrderedDict(tasks or {})
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.event_count = 0
        self.task_count = 0
        self.handlers: dict[str, Callable[[str, dict[str, Any]], Any]] = {}
        self._mutex = threading.RLock()
        self._types: set[str] = set()
        self._orphans: dict[str, set[_Task]] = {}  # of parents that are not known, or were forgotten
        self.tasks_by_type = MethodOrMapping(self._by_type, self._sets_by(lambda task: task.name))
        self.tasks_by_worker = MethodOrMapping(
            self._by_worker, self._sets_by(lambda task: task.worker and task.worker.hostname)
        )

    # -- events

    def event(self, event: dict[str, Any]) -> Any:
        """Take in an event: ((the task or worker, whether it is new), the type without its group)."""
        with self._mutex:
            self.event_count += 1
            if self.event_callback is not None:
                self.event_callback(self, event)
            group, _, subject = event["type"].partition("-")
            if group in self.handlers:
                return self.handlers[group](subject, event), subject
            if group == "worker":
                return self._worker_event(subject, event), subject
            if group == "task":
                return self._task_event(subject, event), subject
            return None

    def _worker_event(self, subject: str, event: dict[str, Any]) -> tuple[_Worker, bool]:
        hostname = event.get("hostname", "")
        known = hostname in self.workers
        worker = self.workers.get(hostname) or self.Worker(hostname)
        worker.event(subject, event.get("timestamp"), event.get("local_received"), event)
        if subject == "offline":
            self.workers.pop(hostname, None)
            if self.on_node_leave is not None:
                self.on_node_leave(worker)
            return worker, False
        self._keep(self.workers, hostname, worker, self.max_workers_in_memory)
        if self.on_node_join is not None and (not known or subject == "online"):
            self.on_node_join(worker)
        return worker, not known

    def _task_event(self, subject: str, event: dict[str, Any]) -> tuple[_Task, bool]:
        uuid, hostname = event["uuid"], event.get("hostname", "")
        task, created = self.get_or_create_task(uuid)
        if subject == "sent":
            task.client = hostname
        else:
            task.worker, _ = self.get_or_create_worker(hostname)
            task.worker.event(None, event.get("timestamp"), event.get("local_received"), {})
        if subject == "received":
            self.task_count += 1
        task.event(subject, event.get("timestamp"), event.get("local_received"), event)
        if task.name is not None:
            self._types.add(task.name)
        if task.parent_id:
            parent = self.tasks.get(task.parent_id)
            (parent.children if parent is not None else self._orphans.setdefault(task.parent_id, set())).add(task)
        task.children.update(self._orphans.pop(uuid, ()))
        return task, created

    def _keep(self, where: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
        where[key] = value
        while len(where) > most:
            self._forget(where.popitem(last=False)[1])

    def _forget(self, gone: Any) -> None:
        """Let go of a task as a child whose parent may come; a worker is none."""
        parent_id = getattr(gone, "parent_id", None) or ""
        self._orphans.get(parent_id, set()).discard(gone)
        if not self._orphans.get(parent_id):
            self._orphans.pop(parent_id, None)

    def get_or_create_worker(self, hostname: str, **fields: Any) -> tuple[_Worker, bool]:
        """The worker of this name, and whether it is new."""
        known = hostname in self.workers
        worker = self.workers[hostname] if known else self.Worker(hostname)
        worker.update(fields)
        if not known:
            self._keep(self.workers, hostname, worker, self.max_workers_in_memory)
        return worker, not known

    def get_or_create_task(self, uuid: str) -> tuple[_Task, bool]:
        """The task of this id, and whether it is new."""
        if uuid in self.tasks:
            return self.tasks[uuid], False
        task = self.Task(uuid, cluster_state=self)
        self._keep(self.tasks, uuid, task, self.max_tasks_in_memory)
        return task, True

    # -- questions

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, _Task]]:
        """(uuid, task), the oldest first."""
        yield from list(self.tasks.items())[:limit]

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, _Task]]:
        """(uuid, task) in the order of their last events, the newest first."""
        found = sorted(self.tasks.items(), key=lambda item: item[1].timestamp or 0.0, reverse=reverse)
        return iter(found[:limit])

    tasks_by_timestamp = tasks_by_time

    def _by_type(self, name: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, _Task]]:
        found = [item for item in self.tasks_by_time(reverse=reverse) if item[1].name == name]
        return iter(found[:limit])

    def _by_worker(self, hostname: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, _Task]]:
        by_time = self.tasks_by_time(reverse=reverse)
        return iter([one for one in by_time if one[1].worker and one[1].worker.hostname == hostname][:limit])

    def _sets_by(self, key: Callable[[_Task], Any]) -> Callable[[], dict[Any, set[_Task]]]:
        def sets() -> dict[Any, set[_Task]]:
            found: dict[Any, set[_Task]] = {}
            for task in list(self.tasks.values()):
                found.setdefault(key(task), set()).add(task)
            return found

        return sets

    def task_types(self) -> list[str]:
        """The names of all tasks that were seen."""
        return sorted(self._types)

    def alive_workers(self) -> Iterator[_Worker]:
        """The workers whose heartbeat is fresh."""
        return (worker for worker in list(self.workers.values()) if worker.alive)

    # -- as a whole

    def freeze_while(self, fun: Callable[..., T], *args: Any, clear_after: bool = False, **kwargs: Any) -> T:
        """Call `fun` while no event is taken in; `clear_after`: then forget what has come to its end."""
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self.clear()

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget the tasks that have come to their end; with `ready=False` all."""
        with self._mutex:
            for uuid in [uuid for uuid, task in self.tasks.items() if task.ready or not ready]:
                self._forget(self.tasks.pop(uuid))

    def clear(self, ready: bool = True) -> None:
        """Forget the workers, the counts, and tasks as `clear_tasks` does."""
        with self._mutex:
            self.workers.clear()
            self.clear_tasks(ready)
            self.event_count = self.task_count = 0

    def rebuild_taskheap(self) -> None:
        """There is none to rebuild: here for Celery's sake."""

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"
