"""The request: a running task's view of its own execution."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Self, cast

import orjson

from liteq.clock import from_ms
from liteq.context.app import App
from liteq.context.apps import get_current_app
from liteq.context.display import in_front, redacted
from liteq.message import Flag, Lease, Outcome, depth_of
from liteq.middleware import Execution

__all__ = ["Request"]


def place_of(url: str) -> str:
    """The path of the file that a broker URL names; of another engine's, the URL."""
    from liteq.storage import describe_url

    found = describe_url(url)
    return found.where if found.kind == "file" else url


SYNONYMS = {"task_id": "id", "task_name": "task", "name": "task"}


class Request:
    """A running task's view of its own execution: `self.request`. The attributes are those of Celery's Context.

    Made once for every execution, so an attribute that costs a decode is computed when it is first read. Attributes
    may be added and overwritten freely.
    """

    id: str | None = None
    task: str | None = None
    args: Any = None
    kwargs: Any = None
    retries: int = 0
    hostname: str | None = None
    is_eager: bool = False
    called_directly: bool = True
    token: int | None = None
    """The fencing token of the lease under which this runs; None where there is none."""
    seq: int | None = None
    max_retries: int | None = None
    """The limit that `retry(max_retries=)` asked for in this execution."""
    taskset: Any = None
    utc: bool = True
    loglevel: Any = None
    logfile: Any = None
    lang: str = "py"
    pending_retry: Any = None
    """The exception that `retry(throw=False)` left behind; honoured when the task returns."""

    entered: bool = False
    """Whether a task class with a `__call__` of its own has called the base's."""

    following: ClassVar[Any]
    """Class of the rows that await a message, `Following`; set by the room's face, which alone knows its `compat/`."""

    _lease: Lease | None = None
    _task: Any = None  # the task that runs under it
    _workflow: Any = None  # the body of a workflow that runs under it
    _telling: Any = None  # what it tells while it runs, once it has told something (execution/telling.py)
    _beside: Mapping[str, Any] | None = None  # what stands beside each state that it tells of itself
    _started: float | None = None  # when its body began, by the app's monotonic clock
    _in_front: tuple[int, int] = (0, 0)  # arguments that come before `args` when it is executed
    _batch: list[Request] | None = None  # the requests of the messages that are executed under it, of a batch
    _outcomes: list[Outcome | None] | None = None  # ... and how they ended
    _exc: BaseException | None = None  # ... by what, where their function raised
    _loop: Any = None  # the event loop that it shares with others
    _disarm: Any = None  # called once its body is over: no limit of time is to hit what follows (execution/awaited.py)
    _stopped: bool = False  # it was ended from outside, by a limit say: it has no outcome (execution/awaited.py)
    _is_told: bool = False  # the traceback of its exception is in the log

    def __init__(self, *args: Any, **fields: Any) -> None:
        self.__dict__.update(*args, **fields)

    @classmethod
    def to_be_shown(cls, app: App, lease: Lease, args: Any, kwargs: Any, hostname: str | None) -> Self:
        """As `from_lease`, of a message that is not executed: its text hides what `app` says is sensitive."""
        request = cls.from_lease(lease, args, kwargs, hostname)
        request.__dict__["_task"] = app.tasks.get(lease.task)
        request.__dict__["_in_front"] = in_front(lease.flags)
        return request

    @classmethod
    def from_lease(cls, lease: Lease, args: Any, kwargs: Any, hostname: str | None = None) -> Self:
        """The request of one execution of a leased message; `args` and `kwargs` as the task gets them."""
        request = cls.__new__(cls)
        fields = request.__dict__
        fields["_lease"] = lease
        fields["id"] = lease.id
        fields["task"] = lease.task
        fields["args"] = args
        fields["kwargs"] = kwargs
        fields["hostname"] = hostname
        fields["called_directly"] = False
        fields["token"] = lease.token
        fields["seq"] = lease.seq
        if lease.retries:
            fields["retries"] = lease.retries
        return request

    def execution(self, name: str, args: Any, kwargs: Any) -> Execution:
        """This execution of the task `name`, as middleware sees it."""
        headers = {**(self.options.get("headers") or {}), **(self.headers or {})}
        return Execution("task", name, self.id or "", tuple(args), dict(kwargs), headers, self.retries + 1)

    def update(self, *args: Any, **fields: Any) -> None:
        """Overwrite attributes, as a dict's `update`."""
        self.__dict__.update(*args, **fields)

    def clear(self) -> None:
        """Forget everything that was set."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute `key`, `default` where there is none."""
        return getattr(self, key, default)

    def __getattr__(self, name: str) -> Any:
        """Headers that a sender added are attributes too, as in Celery; and a worker's names for `id` and `task`."""
        if name in SYNONYMS:
            return getattr(self, SYNONYMS[name])
        for headers in (self.headers, self.options.get("headers")):
            if headers and name in headers:
                return headers[name]
        raise AttributeError(name)

    def __repr__(self) -> str:
        shown = {key: value for key, value in self.__dict__.items() if not key.startswith("_")}
        args, kwargs = self._shown()
        shown |= {key: value for key, value in (("args", args), ("kwargs", kwargs)) if key in shown}
        return f"<Context: {shown!r}>"

    # These are derived when they are asked for. An assignment replaces each of them.

    @cached_property
    def options(self) -> dict[str, Any]:
        """The sender's options document: `headers`, `timelimit`, `shadow`, ...; {} where it sent none."""
        lease = self._lease
        if lease is None or not lease.options:
            return {}
        decoded: dict[str, Any] = orjson.loads(lease.options)
        return decoded

    @cached_property
    def db(self) -> str:
        """The file that its message is in, for `app.using(self.request.db)`: its path; of another engine the URL."""
        return place_of(self._app.of_task.broker_url)

    @cached_property
    def crashes(self) -> int:
        """How often a process died while it ran this message."""
        return self._lease.crashes if self._lease else 0

    @cached_property
    def root_id(self) -> str | None:
        return (self._lease.root_id or self.id) if self._lease else None

    @cached_property
    def parent_id(self) -> str | None:
        return self._lease.parent_id if self._lease else None

    @cached_property
    def replaced_task_nesting(self) -> int:
        """How many tasks have been replaced, one by the other, until this one."""
        return int(self.options.get("replaced_task_nesting", 0))

    @property
    def depth(self) -> int:
        """In how many groups, one in the other, its message stands."""
        return depth_of(self._lease.flags) if self._lease else 0

    @cached_property
    def correlation_id(self) -> str | None:
        """Its id, unless the sender gave one."""
        if self._lease is None:
            return None
        given: str | None = self.options.get("properties", {}).get("correlation_id")
        return given or self.id

    @cached_property
    def group(self) -> str | None:
        return self._lease.group_id if self._lease else None

    @cached_property
    def group_index(self) -> int | None:
        """Its place in its group."""
        lease = self._lease
        if lease is None or lease.group_id is None:
            return None
        row = self._app.of_task.storage.reader.find(lease.id)
        return None if row is None else row.position

    # The tasks that follow are read from the file, as dicts of signatures. A task that sets `chain` or `callbacks` to
    # None, or empties the list, ends its chain, as in Celery: see `drop_followers`.

    @property
    def _app(self) -> App:
        return get_current_app() if self._task is None else cast(App, self._task.app)

    @cached_property
    def chain(self) -> list[dict[str, Any]] | None:
        """The rest of its chain, the next one last."""
        return self.following(self._app.of_task, self._lease).chain() if self._lease else None

    @cached_property
    def callbacks(self) -> list[dict[str, Any]] | None:
        return self.following(self._app.of_task, self._lease).callbacks() if self._lease else None

    @cached_property
    def errbacks(self) -> list[dict[str, Any]] | None:
        return self.following(self._app.of_task, self._lease).errbacks() if self._lease else None

    @cached_property
    def chord(self) -> dict[str, Any] | None:
        """The body of the chord in whose header it is."""
        return self.following(self._app.of_task, self._lease).chord() if self._lease else None

    def drop_followers(self) -> None:
        """Cancel the rest of the chain, or the callbacks, where the task has taken them out of this request."""
        fields, lease = self.__dict__, self._lease
        if lease is None:
            return
        if "chain" in fields and not fields["chain"]:
            self.following(self._app.of_task, lease).drop_chain()
        if "callbacks" in fields and not fields["callbacks"]:
            self.following(self._app.of_task, lease).drop_callbacks()

    @cached_property
    def ignore_result(self) -> bool:
        return bool(self._lease.flags & Flag.IGNORE_RESULT) if self._lease else False

    @cached_property
    def headers(self) -> dict[str, Any] | None:
        """The sender's headers; those in its header `headers`, where it sent one, as libraries for Celery do."""
        own: dict[str, Any] | None = self.options.get("headers")
        inner = own.get("headers") if own else None
        return inner if isinstance(inner, dict) else own

    @cached_property
    def properties(self) -> dict[str, Any] | None:
        """The properties that Celery's messages have; `app_id` and its like are those that the sender gave."""
        lease = self._lease
        if lease is None:
            return None
        own = {"correlation_id": self.id, "reply_to": self.reply_to, "priority": lease.priority}
        return {**own, "delivery_info": self.delivery_info, **self.options.get("properties", {})}

    @cached_property
    def timelimit(self) -> tuple[float | None, float | None] | None:
        """(hard, soft) limit in seconds that this call, else its task, asks for; None where there is no message."""
        if self._lease is None:
            return None
        hard, soft = self.options.get("timelimit") or (None, None)
        task = self._task or self._app.tasks.get(self.task)
        return hard or getattr(task, "time_limit", None), soft or getattr(task, "soft_time_limit", None)

    @cached_property
    def time_limit(self) -> float | None:
        """The hard limit in seconds that this call, else its task, else the settings ask for."""
        return self._limit(0, "time_limit")

    @cached_property
    def soft_time_limit(self) -> float | None:
        """The soft limit in seconds that this call, else its task, else the settings ask for."""
        return self._limit(1, "soft_time_limit")

    def _limit(self, place: int, name: str) -> float | None:
        asked = (self.timelimit or (None, None))[place]
        if asked is not None or self.task is None:
            return asked
        app = self._app
        own: float | None = getattr(app.tasks.get(self.task), name, None)
        return app.conf[f"task_{name}"] if own is None else own

    def as_execution_options(self) -> dict[str, Any]:
        """The options with which a task that is to be like this one is sent."""
        return {
            "task_id": self.id, "root_id": self.root_id, "parent_id": self.parent_id, "group_id": self.group,
            "group_index": self.group_index, "shadow": self.shadow, "chord": self.chord, "chain": self.chain,
            "link": self.callbacks, "link_error": self.errbacks, "expires": self.expires, "headers": self.headers,
            "soft_time_limit": self.soft_time_limit, "time_limit": self.time_limit, "retries": self.retries,
            "reply_to": self.reply_to, "replaced_task_nesting": self.replaced_task_nesting, "origin": self.origin,
            "ignore_result": self.ignore_result, **(self.stamps or {}), "stamped_headers": self.stamped_headers,
        }  # fmt: skip

    def stamping(self) -> dict[str, Any]:
        """Its stamps, as they are in a message's document; {} where there are none."""
        names = self.stamped_headers
        return {"stamps": self.stamps or {}, "stamped_headers": names} if names else {}

    @cached_property
    def expires(self) -> str | None:
        """The time after which it is not started, in ISO format."""
        expires_ms = self._lease.expires_ms if self._lease else None
        return from_ms(expires_ms).isoformat() if expires_ms is not None else None

    @cached_property
    def eta(self) -> str | None:
        """The due time asked for by `eta` or `countdown`, in ISO format."""
        return self.options.get("eta")

    @cached_property
    def shadow(self) -> str | None:
        return self.options.get("shadow")

    @cached_property
    def origin(self) -> str | None:
        return self.options.get("origin")

    @cached_property
    def reply_to(self) -> str | None:
        return self.options.get("reply_to")

    @cached_property
    def stamps(self) -> dict[str, Any] | None:
        return self.options.get("stamps", None if self._lease is None else {})

    @cached_property
    def stamped_headers(self) -> list[str] | None:
        return self.options.get("stamped_headers")

    @cached_property
    def argsrepr(self) -> str:
        """The positional arguments as logs may show them: `argsrepr=` of the sender, sensitive ones hidden."""
        said: str | None = self.options.get("argsrepr")
        return repr(tuple(self._shown()[0] or ())) if said is None else said

    @cached_property
    def kwargsrepr(self) -> str:
        """As `argsrepr`, for the named ones."""
        said: str | None = self.options.get("kwargsrepr")
        return repr(self._shown()[1]) if said is None else said

    def _shown(self) -> tuple[Any, Any]:
        """Its arguments as a person may see them. A request of no task has none that is known to be sensitive."""
        if self.task is None or (self.args is None and self.kwargs is None):
            return self.args, self.kwargs
        return redacted(self._app, self.task, self.args or (), self.kwargs or {}, in_front=self._in_front)

    @cached_property
    def delivery_info(self) -> dict[str, Any] | None:
        lease = self._lease
        if lease is None:
            return {"is_eager": True} if self.is_eager else None
        return {
            "exchange": "",
            "routing_key": lease.queue,
            "queue": lease.queue,
            "priority": lease.priority,
            "redelivered": bool(lease.crashes or lease.flags & Flag.REDELIVERED),
        }

    @cached_property
    def children(self) -> list[Any]:
        """The results of what this execution has sent so far."""
        return []
