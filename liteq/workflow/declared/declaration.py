"""`Declaration`: a workflow as it was declared, the options of its starts, and the row of one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar, cast
from uuid import UUID

from liteq.context import App
from liteq.message import Flag, Message, RunSpec, new_id
from liteq.policy.arguments import check_sensitive
from liteq.policy.keyed import Spec
from liteq.serialization import encode
from liteq.serialization.models import data_of
from liteq.storage.runs.starting import check_conflict
from liteq.utils.durations import Duration, limit_ms, seconds
from liteq.utils.misspelt import suggesting
from liteq.utils.names import checked_id, checked_name, checked_priority
from liteq.workflow.declared.as_task import AsATask
from liteq.workflow.declared.budgets import Budget, checked_budget, limits_of
from liteq.workflow.declared.lint import warn_of
from liteq.workflow.declared.step import KEEP, given_of, refuse_generator
from liteq.workflow.history.codec import Codec

__all__ = ["Asked", "Declaration", "OnConflict"]

OnConflict = Literal["fail", "existing", "renew", "replace"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of a start."""

    id: str | None = None
    queue: str | None = None
    priority: int | None = None
    delay: Duration | None = None
    eta: datetime | None = None
    expires: Duration | datetime | None = None
    on_conflict: OnConflict = "fail"
    event: tuple[str, Any] | None = None
    tags: tuple[str, ...] = ()
    keyed: Mapping[str, Any] = field(default_factory=dict)
    """The options by which it is limited, of this start alone."""
    budget: Budget | None = None
    """Its own, in place of the workflow's."""
    timeout: Duration | None = None
    """Its own, in place of the workflow's."""


P = ParamSpec("P")
R = TypeVar("R")


def _checked_delay(value: Duration, what: str) -> Duration:
    seconds(value, what)
    return value


def _checked_expires(value: Duration | datetime) -> Duration | datetime:
    return value if isinstance(value, datetime) else _checked_delay(value, "expires")


def _checked_timeout(value: Duration) -> Duration:
    limit_ms(value, "timeout")
    return value


def _checked_eta(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"eta={value!r}: a naive datetime names no moment; add its zone")
    return value


def _checked_event(value: Any) -> tuple[str, Any]:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"event is (name, payload), not {value!r}")
    return value


def _checked_tags(value: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"tags is a list of words, not {value!r}")
    return tuple(checked_name(tag, "a tag") for tag in value or ())


def _checked_conflict(value: OnConflict) -> OnConflict:
    check_conflict(value)
    return value


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "id": checked_id,
    "queue": lambda value: checked_name(value, "a queue's name"),
    "priority": checked_priority,
    "delay": lambda value: _checked_delay(value, "delay"),
    "eta": _checked_eta,
    "expires": _checked_expires,
    "on_conflict": _checked_conflict,
    "event": _checked_event,
    "tags": _checked_tags,
    "budget": checked_budget,
    "timeout": _checked_timeout,
}
"""By option of a start: takes a value that is not None, returns it as it is kept, and raises for a wrong one."""
NEVER_NONE = frozenset({"on_conflict", "tags"})


class Declaration(AsATask, Generic[P, R]):
    """A workflow's function with its name and its options; `Workflow` is one that can be started."""

    __wrapped__: Callable[..., Any]
    __name__: str

    @suggesting
    def __init__(
        self,
        app: App,
        function: Callable[P, R],
        name: str,
        *,
        version: str = "1",
        queue: str | None = None,
        priority: int = 0,
        timeout: Duration | None = None,
        max_concurrency: int | None = None,
        concurrency_key: Spec | None = None,
        limits: Spec | Sequence[Spec] = (),
        fair_key: Spec | None = None,
        unique: Any = None,
        sensitive: bool | Sequence[str] = (),
        budget: Budget | None = None,
    ) -> None:
        refuse_generator(function, "the workflow")
        functools.update_wrapper(cast("Any", self), function)
        self.app = app
        self.run = self.function = function
        self.name = checked_name(name, "a workflow's name")
        self.version = checked_name(str(version), "a workflow's version")
        self.queue = None if queue is None else checked_name(queue, "a queue's name")
        self.priority = checked_priority(priority)
        self.timeout = timeout
        timeout_ms = None if timeout is None else limit_ms(timeout, f"the timeout of workflow {name!r}")
        self.max_concurrency, self.concurrency_key = max_concurrency, concurrency_key
        self.limits, self.fair_key, self.unique = limits, fair_key, unique
        self.budget = checked_budget(budget)
        check_sensitive(sensitive, function, f"workflow {name!r}")
        self.sensitive = sensitive if isinstance(sensitive, (bool, str)) else tuple(sensitive)
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self.codec = Codec(function, f"workflow {name!r}")
        self.dump_models = self.codec.dump
        self.parameters = self.codec.parameters
        spendable = () if self.budget is None else limits_of(self.budget)
        self.run_spec = RunSpec(self.version, timeout_ms, budget=spendable)
        self.asked = Asked()
        warn_of(function)

    # -- as a task ---------------------------------------------------------------------------------------------------

    def bind(self, app: App) -> App:
        """Make `app` the one that it is sent through."""
        self.app = app
        return app

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError when it cannot be called with these."""
        self.parameters.check(args, kwargs)

    def redacted(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, in_front: tuple[int, int] | None = (0, 0)
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as others may see them: `***` for each that `sensitive` names."""
        if not self.sensitive:
            return list(args), dict(kwargs)
        if in_front is None:
            in_front = (0, self.parameters.positional_left(args, kwargs))
        return self.parameters.redacted(self.sensitive, args, kwargs, in_front=in_front)

    # -- options -----------------------------------------------------------------------------------------------------

    @suggesting
    def options(
        self,
        *,
        id: str | UUID | None = KEEP,
        queue: str | None = KEEP,
        priority: int | None = KEEP,
        delay: Duration | None = KEEP,
        eta: datetime | None = KEEP,
        expires: Duration | datetime | None = KEEP,
        on_conflict: OnConflict = KEEP,
        event: tuple[str, Any] | None = KEEP,
        tags: Iterable[str] = KEEP,
        unique: Any = KEEP,
        budget: Budget | None = KEEP,
        timeout: Duration | None = KEEP,
    ) -> Self:
        """The same workflow, to be started with these: `flow.options(id="order-7").start(order)`.

        An option that is not given keeps its value.

        id: the run's, and its idempotency key. delay, eta: not before. expires: not begun after. on_conflict, where the
        id exists: "fail" (that run if workflow and input are the same, else RunConflict), "existing" (that run),
        "renew" (that run while it lives, else a new one), "replace" (a new one, the old one terminated). event=(name,
        payload): sent to that run in the same transaction. tags: words by which `app.runs` finds it. unique: as
        of a task, in the place of the workflow's own. budget, timeout: in the place of the workflow's own.
        """
        given = given_of(locals())
        if "unique" in given:
            unique = given.pop("unique")
            given["keyed"] = {} if unique is None else {"unique": unique}
        given = {
            name: CHECKS[name](value) if name in CHECKS and (value is not None or name in NEVER_NONE) else value
            for name, value in given.items()
        }
        if given.keys() & {"delay", "eta"}:  # the one that was given last
            given = {"delay": None, "eta": None, **given}
        return self._asking(replace(self.asked, **given))

    def _asking(self, asked: Asked) -> Self:
        """The same workflow, to be started with `asked`."""
        other: Self = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.asked = asked
        return other

    def message(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, id_: str, root_id: str | None = None,
        parent_id: str | None = None,
    ) -> Message:  # fmt: skip
        """The row of a run with these arguments. Raises TypeError where they do not fit, NotSerializable."""
        asked = self.asked
        options: dict[str, Any] = {}
        if asked.queue is not None:
            options["queue"] = asked.queue
        if asked.priority is not None:
            options["priority"] = asked.priority
        if asked.delay is not None:
            options["countdown"] = seconds(asked.delay, "delay")
        if asked.eta is not None:
            options["eta"] = asked.eta
        if asked.expires is not None:
            expires = asked.expires
            options["expires"] = expires if isinstance(expires, datetime) else seconds(expires, "expires")
        options |= asked.keyed
        message: Message = self.app.publisher.message(
            self.name, args, kwargs, options, message_id=id_, root_id=root_id, parent_id=parent_id
        )
        message.flags |= Flag.RUN
        own = self.run_spec.budget if asked.budget is None else limits_of(asked.budget)
        timeout_ms = self.run_spec.timeout_ms if asked.timeout is None else limit_ms(asked.timeout, "timeout")
        message.run = replace(self.run_spec, tags=asked.tags, budget=own, timeout_ms=timeout_ms)
        return message

    def new_id(self) -> str:
        """The id of the next run: the one that was asked for, else a new one."""
        return self.asked.id or new_id()

    def event_of(self) -> tuple[str, bytes] | None:
        """The event that is to be sent with the start, its payload as JSON."""
        event = self.asked.event
        if event is None:
            return None
        name = checked_name(event[0], "an event's name")
        limit = self.app.conf.max_payload_bytes
        return name, encode(data_of(event[1]), what=f"the payload of the event {name!r}", limit=limit)
