"""From a call to the row that will be written: options merged, routed, encoded.

The part that is the same for every call of a task is made once (`Defaults`) and kept until its settings change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from liteq import context, signals
from liteq.canvas import MAP, STARMAP, Signature
from liteq.clock import Clock, from_ms, to_ms
from liteq.context import App, Observer
from liteq.execution.plan import hook_of
from liteq.message import Flag, Message
from liteq.policy.kept import checked_tags, log_keep_ms
from liteq.policy.times import limits_s, span_ms
from liteq.routing.routes import Router
from liteq.sending.destination import existing, queue_of, routed
from liteq.sending.kept import MORE_BY_CALL, mark_kept
from liteq.sending.keys import KEYED_BY_CALL, add_keys, document_of_keys, keyed_task
from liteq.sending.options import DOCUMENTED, FORM, OF_A_CALL, OF_THE_TASK, PROPERTIES, check_options
from liteq.sending.overrides import call_as_sent
from liteq.sending.places import RowMaker
from liteq.sending.publish_signals import announce
from liteq.sending.replicated import replication
from liteq.sending.uniqueness import THROTTLE, exclude, uniqueness
from liteq.serialization import encode
from liteq.serialization.content import Owner
from liteq.serialization.serializers import JSON
from liteq.storage.sending.enqueue_calls import Kind
from liteq.utils.durations import Duration, numeric_s
from liteq.utils.names import checked_key, checked_name, checked_priority

__all__ = ["Defaults", "Publisher", "moment_ms"]

EMPTY: Mapping[str, Any] = {}
UNIQUE = frozenset({"unique", "unique_key"})


def moment_ms(when: Duration | datetime, clock: Clock) -> int:
    """`when` (a span from now, a time, or one in ISO format) in ms since the epoch; a naive time is UTC."""
    if isinstance(when, str):
        with suppress(ValueError):
            when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        return to_ms(when)
    return clock.now_ms() + span_ms(numeric_s(when, "expires (a time in ISO format or a span)"), "a time from now")


class Defaults:
    """Everything about a task's messages that does not depend on the call."""

    __slots__ = (
        "alike", "check", "checks_by_count", "depth", "dump", "expires", "flags", "form", "has_more", "inherits",
        "keyed", "limit", "maps", "name", "observed", "own", "priority", "queue", "run", "shadow", "static", "tags",
        "task", "time_limits", "unique", "what",
    )  # fmt: skip

    def __init__(self, app: App, name: str | None, task: Any, router: Router) -> None:
        conf = app.conf
        own = {} if task is None else {key: getattr(task, key, None) for key in OF_THE_TASK}
        self.name = checked_name(name, "a task's name")
        route = router.route(self.name, task=task) if router.is_static else {}
        self.own = {key: value for key, value in own.items() if value is not None}
        merged = {**route, **self.own}
        self.what = f"the arguments of task {name!r}"
        self.limit: int = conf.max_payload_bytes
        self.depth: int = conf.max_nesting
        self.form = form_of(conf.task_serializer, conf.task_compression, task)
        self.dump = None if task is None else task.dump_models
        if self.dump is not None:
            self.form = self.form or (None, None)
        self.queue = existing(queue_of(merged, conf) or conf.task_default_queue, conf)
        priority = merged.get("priority")
        self.priority = checked_priority((conf.task_default_priority or 0) if priority is None else priority)
        self.inherits = bool(conf.task_inherit_parent_priority) and priority is None
        self.expires = merged.get("expires") if task is None or task.expires is None else task.expires
        self.flags = flags_of(task) if task is not None else 0
        self.run = getattr(task, "run_spec", None)  # of a workflow: its messages are runs
        if self.run is not None:
            self.flags |= Flag.RUN
        self.check = task.check_arguments if task is not None and task.typing else None
        self.checks_by_count = task is not None and task.checks_by_count
        self.maps = self.name in {MAP, STARMAP}  # goes the way of the task that it calls
        self.static = (router.is_static or own.get("queue") is not None) and not (self.inherits or self.maps)
        self.time_limits = (route.get("time_limit"), route.get("soft_time_limit"))
        self.task = task
        self.unique = uniqueness(getattr(task, "unique", None), self.name, task)
        self.shadow = hook_of(task, "shadow_name")
        by_call = (self.expires, *self.time_limits, self.unique, self.shadow)
        self.alike = self.static and all(one is None for one in by_call)
        limits_s(getattr(task, "time_limit", None), getattr(task, "soft_time_limit", None))
        self.keyed = None if task is None else keyed_task(task)
        self.tags = checked_tags(getattr(task, "tags", None), f"task {self.name!r}")
        self.has_more = bool(self.tags) or (self.keyed is not None and self.keyed.has_keys)
        self.observed = False

    @property
    def is_plain(self) -> bool:
        """Whether calls without options differ in nothing but their arguments, these are plain JSON, nobody watches."""
        more = self.observed or self.has_more or self.flags & Flag.REPLICATED
        return self.alike and self.form is None and self.run is None and not more

    @property
    def kind(self) -> Kind:
        """The part of the row of such a call that all of them have."""
        return self.name, self.queue, self.priority, self.flags


Form = tuple[str | None, str | None]


def form_of(serializer: str | None, compression: str | None, task: Any = None) -> Form | None:
    """The (serializer, compression) of a task's arguments; None for plain JSON, which needs no look at either."""
    if task is not None:
        serializer, compression = task.serializer, task.compression
    return None if serializer in (None, "json", JSON) and not compression else (serializer, compression)


def flags_of(task: Any) -> int:
    """The flags that a task's attributes give to each of its rows."""
    flags = 0
    if task.ignore_result:
        flags |= Flag.IGNORE_RESULT
    if task.track_started:
        flags |= Flag.TRACK_STARTED
    if task.acks_late is False:
        flags |= Flag.EARLY_ACK
    if getattr(task, "replicated", False):  # a workflow has no such thing
        flags |= Flag.REPLICATED
    return flags


class Publisher(RowMaker):
    """Makes the messages of one app."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._defaults: dict[str | None, Defaults] = {}
        self.plain: dict[str | None, Any] = {}  # what is derived from them in turn, by plain.py
        self._router: Router | None = None
        self._observer: Observer | bool | None = False  # not known yet
        self.limits_declared: dict[str, tuple[str | None, int | None]] = {}  # of calls, by keys.py

    def forget(self, name: str | None = None) -> None:
        """A task's attributes (None: settings) have changed."""
        for derived in (self._defaults, self.plain):
            derived.clear() if name is None else derived.pop(name, None)
        if name is None:
            self._router, self._observer = None, False

    @property
    def observer(self) -> Observer | None:
        """Sees what is sent; None where nobody wants to."""
        if self._observer is False:
            self._observer = self._app.integrations.observer()
        return self._observer  # type: ignore[return-value]

    @property
    def router(self) -> Router:
        if self._router is None:
            self._router = Router(self._app.conf.task_routes)
        return self._router

    def defaults(self, name: str | None) -> Defaults:
        """The common part of all messages of the task `name`, whether or not this process knows the task.

        Raises TypeError for a task without a name, ImproperlyConfigured for settings of content that are wrong.
        """
        try:
            return self._defaults[name]
        except KeyError:
            task = self._app.tasks.get(name)
            self._app.content  # noqa: B018 - a wrong name in `accept_content` is told before a message is sent
            made = self._defaults[name] = Defaults(self._app, name, task, self.router)
            made.observed = self.observer is not None
            return made

    def message(
        self,
        name: str | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] = EMPTY,
        *,
        message_id: str,
        check: bool = True,
        awaits: str | None = None,
        group_id: str | None = None,
        position: int = 0,
        flags: int = 0,
        root_id: str | None = None,
        parent_id: str | None = None,
    ) -> Message:
        """The row for one call. Raises TypeError when the arguments do not fit, NotSerializable, PayloadTooLarge.

        `options` are those of `apply_async`; `flags` are added to the task's own. A countdown of a row that awaits
        another counts from the moment that one has finished.
        """
        d = self.defaults(name)
        if check and d.check is not None:
            d.check(args, kwargs)
        if root_id is None and (running := context.worker_request()) is not None:
            root_id, parent_id = running.root_id, parent_id or running.id
        if d.form is None and (not options or FORM.isdisjoint(options)):
            payload = encode([args, kwargs], what=d.what, limit=d.limit, max_depth=d.depth)
        else:
            payload = self._in_form(d, [list(args), dict(kwargs)], options, Owner(message_id, d.name))
        if not options and d.alike:
            message = Message(
                message_id, d.name, payload, d.queue, d.priority, None, None, None, None, root_id, parent_id,
                awaits, group_id, position, d.flags | flags, None, d.run,
            )  # fmt: skip
        else:
            message = self._with_options(
                d, args, kwargs, dict(options), payload, message_id, awaits, group_id, position, flags, root_id,
                parent_id,
            )  # fmt: skip
        if d.has_more or (options and not MORE_BY_CALL.isdisjoint(options)):
            add_keys(self._app, d.keyed, message, args, kwargs, options)
            mark_kept(message, d.tags, options)
        if d.observed:
            self.observer.made(message)  # type: ignore[union-attr]
        return message

    def row(
        self,
        sig: Signature,
        *,
        message_id: str,
        awaits: str | None,
        group_id: str | None,
        position: int,
        flags: int,
        root_id: str | None,
        parent_id: str | None,
    ) -> Message:
        """The row of one signature; before_task_publish is sent. A call that takes an input is not checked."""
        make = partial(
            self.message,
            sig.task,
            message_id=message_id,
            awaits=awaits,
            group_id=group_id,
            position=position,
            flags=flags,
            root_id=root_id,
            parent_id=parent_id,
        )
        message = make(sig.args, sig.kwargs, sig.options, check=not flags & Flag.TAKES_INPUT)
        if signals.before_task_publish.receivers:
            changed = announce(self._app, message, sig.args, sig.kwargs, sig.options)
            if changed is not None:
                args, kwargs, headers = changed
                message = make(args, kwargs, {**sig.options, "headers": headers}, check=False)
        return message

    def overrides(self, name: str) -> bool:
        """Whether the class of the task `name` has an `apply_async` of its own."""
        task = self._app.tasks.get(name)
        return task is not None and task.overrides_sending

    @property
    def header_errbacks(self) -> bool:
        """Whether the errbacks of a chord are those of its header's tasks, too."""
        return bool(self._app.conf.task_allow_error_cb_on_chord_header)

    def overridden(self, sig: Signature) -> Signature:
        """`sig` as the `apply_async` of its task's class wants it sent."""
        call = call_as_sent(self._app.tasks[sig.task], sig.args, sig.kwargs, sig.options)
        copy = Signature(sig.task, tuple(call.args), dict(call.kwargs), call.options, app=self._app)
        return copy.set(immutable=True) if sig.immutable else copy

    def _in_form(self, d: Defaults, value: list[Any], options: Mapping[str, Any], owner: Owner) -> bytes:
        """The arguments by the serializer, and compressed as, the call asks for, else the task."""
        if d.dump is not None:
            value = list(d.dump(*value))
        serializer, compression = d.form or (None, None)
        written: bytes = self._app.content.write(
            value, options.get("serializer") or serializer, options.get("compression") or compression,
            what=d.what, owner=owner,
        )  # fmt: skip
        return written

    def changes(self, name: str, options: Mapping[str, Any], document_before: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of RetryAt that a retry's options change; `document_before`: the message's options document."""
        expires, priority = options.get("expires"), options.get("priority")
        queue = queue_of(options, self._app.conf)
        found: dict[str, Any] = {
            "queue": None if queue is None else checked_name(queue, "a queue's name"),
            "priority": None if priority is None else checked_priority(priority),
            "expires_ms": None if expires is None else moment_ms(expires, self._app.clock),
        }
        documented = {key: options[key] for key in DOCUMENTED if options.get(key) is not None}
        hard, soft = options.get("time_limit"), options.get("soft_time_limit")
        if hard is not None or soft is not None:
            documented["timelimit"] = limits_s(hard, soft)
        if keyed := document_of_keys(options):
            documented["keyed"] = {**document_before.get("keyed", EMPTY), **keyed}
        if documented:
            what = f"options of {name}"
            found["options"] = encode({**document_before, **documented}, what=what, limit=self.defaults(name).limit)
        return {key: value for key, value in found.items() if value is not None}

    def _with_options(
        self, d: Defaults, args: Any, kwargs: Any, options: dict[str, Any], payload: bytes, message_id: str,
        awaits: str | None, group_id: str | None, position: int, flags: int, root_id: str | None, parent_id: str | None,
    ) -> Message:  # fmt: skip
        conf, clock = self._app.conf, self._app.clock
        if not OF_A_CALL.issuperset(options) and not signals.before_task_publish.receivers:  # else: by `announce`
            check_options(self._app, d.name, args, kwargs, options)
        options = routed(self, d, args, kwargs, options)
        if d.shadow is not None and not options.get("shadow"):
            options["shadow"] = d.shadow(args, kwargs, options)
        vault = None if d.unique is None and UNIQUE.isdisjoint(options) else self._app.content.vault
        flags, rule = exclude(d.unique, d.name, d.task, args, kwargs, options, flags, vault)
        due_ms, delay_ms = due(options, clock, blocked=awaits is not None)
        expires = options.get("expires", d.expires)  # a None is said by the caller: this one does not expire
        priority = options.get("priority")
        if priority is None and d.inherits and (running := context.worker_request()) is not None:
            priority = (running.delivery_info or {}).get("priority")
        return Message(
            id=message_id, task=d.name, payload=payload, awaits=awaits, group_id=group_id, position=position, run=d.run,
            queue=existing(queue_of(options, conf) or d.queue, conf),
            priority=d.priority if priority is None else checked_priority(priority),
            due_ms=due_ms, delay_ms=delay_ms, expires_ms=None if expires is None else moment_ms(expires, clock),
            options=document(options, d, due_ms),
            unique_key=checked_key(options.get("unique_key")), unique=rule,
            root_id=options.get("root_id") or root_id, parent_id=options.get("parent_id") or parent_id,
            flags=_by_call(d.flags, options) | flags,
        )  # fmt: skip


def _by_call(flags: int, options: Mapping[str, Any]) -> int:
    """The flags of a task's messages, as the options of one call change them."""
    flags = replication(flags, options) | (Flag.KEPT if options.get("idempotent") else 0)
    ignore_result = options.get("ignore_result")
    if ignore_result is None:
        return flags
    return flags | Flag.IGNORE_RESULT if ignore_result else flags & ~Flag.IGNORE_RESULT


def due(options: Mapping[str, Any], clock: Clock, *, blocked: bool) -> tuple[int | None, int | None]:
    """(due_ms, delay_ms) that `eta` and `countdown` ask for; of the two, `countdown` wins, as in Celery."""
    countdown, eta = options.get("countdown"), options.get("eta")
    if countdown is not None:
        delay_ms = span_ms(numeric_s(countdown, "countdown"), "countdown")
        return (None if blocked else clock.now_ms() + delay_ms), delay_ms
    if eta is None:
        return None, None
    return to_ms(_moment(eta)), None


def _moment(eta: Any) -> datetime:
    """The `eta` of a call as a time."""
    try:
        found = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    except ValueError:
        found = None
    if not isinstance(found, datetime):
        raise TypeError(f"eta is a datetime or one in ISO format, not {eta!r}; for a span from now use countdown")
    return found


def document(options: Mapping[str, Any], d: Defaults, due_ms: int | None) -> bytes | None:
    """The options document, which only the executing side reads; None where it would be empty."""
    doc = {key: options[key] for key in DOCUMENTED if options.get(key) is not None}
    if not isinstance(doc.get("headers", EMPTY), Mapping):
        raise TypeError(f"headers are a dict, not {doc['headers']!r}")
    properties = {key: options[key] for key in PROPERTIES if options.get(key) is not None}
    if properties:
        doc["properties"] = properties
    hard = options.get("time_limit", d.time_limits[0])
    soft = options.get("soft_time_limit", d.time_limits[1])
    if hard is not None or soft is not None:
        doc["timelimit"] = limits_s(hard, soft)
    if due_ms is not None:
        doc["eta"] = from_ms(due_ms).isoformat()
    if options.get("stamped_headers"):
        doc["stamps"] = {name: options[name] for name in options["stamped_headers"] if name in options}
    if options.get("ignore_result") is False:
        doc["ignore_result"] = False
    if options.get("log_keep") is not None:
        doc["log_keep"] = log_keep_ms(options["log_keep"], f"a call of task {d.name!r}") or 0
    if THROTTLE in options:
        doc[THROTTLE] = options[THROTTLE]
    if not KEYED_BY_CALL.isdisjoint(options) and (keyed := document_of_keys(options)):
        doc["keyed"] = keyed
    return encode(doc, what=f"options of {d.name}", limit=d.limit) if doc else None
