"""How an app sends: one call, a signature, a whole canvas, or very many calls in one commit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from liteq import context, signals
from liteq.canvas import Node, Signature, evaluate, maybe_signature
from liteq.canvas.eager import members_of
from liteq.context import App
from liteq.exceptions import AlwaysEagerIgnored
from liteq.message import Batch, Flag, Message, new_id
from liteq.result import AsyncResult, GroupResult
from liteq.sending import many
from liteq.sending.compile import Compiled, compile_signature
from liteq.sending.here import runner, send_here
from liteq.sending.kept import keep_rows
from liteq.sending.options import GRAPH, positional_of
from liteq.sending.overrides import has_been_through, pass_on
from liteq.sending.parts import GroupStream
from liteq.sending.passing import Passing
from liteq.sending.plain import Send, plain_sender
from liteq.sending.producer import is_replaced
from liteq.sending.publish_signals import announce, announce_sent, publish_through_producer
from liteq.sending.publisher import Publisher
from liteq.sending.replicated import asked_for, confirmed, written
from liteq.sending.unconfirmed import UnconfirmedIds
from liteq.storage.groups.append_members import UNPLACED
from liteq.utils.names import checked_id, checked_name

__all__ = ["Sender"]

P = ParamSpec("P")
R = TypeVar("R")

NO_OPTIONS: Mapping[str, Any] = {}
NOTHING: Mapping[str, str] = MappingProxyType({})


def observed(send: Callable[P, R]) -> Callable[P, R]:
    """A way of sending of a `Sender`, seen by the observers of its app."""

    @wraps(send)
    def seen(*args: P.args, **kwargs: P.kwargs) -> R:
        observer = args[0].publisher.observer  # type: ignore[attr-defined]
        if observer is None:
            return send(*args, **kwargs)
        with observer.sending(many=send.__name__ == "enqueue_many"):
            return send(*args, **kwargs)

    return seen


def stay_home(app: App, what: str) -> None:
    """Refuse what the body of a workflow records, inside `using` of another file; its steps may send elsewhere."""
    if context.in_workflow_body():
        app.stay_home(what)


def note_child(task: Any, request: context.Request | None, result: Any, options: Mapping[str, Any]) -> None:
    """Note `result` as sent by the running `task`, unless that, or the call, says that nobody will ask for it."""
    if request is not None and getattr(task, "trail", True) and options.get("add_to_parent", True):
        request.children.append(result)


class Sender:
    """Sends the calls and canvases of one app."""

    def __init__(self, app: App, base: Any) -> None:
        """`base`: liteq's own class of apps."""
        self.app = app
        self._base = base
        self.renew()
        self._unconfirmed = UnconfirmedIds()

    def renew(self) -> None:
        """Make the maker of rows anew: settings or hooks of the app have changed."""
        self._maker = Publisher(self.app)
        self.publisher = Passing(self.app, self._maker) if self.app.middleware.publishes else self._maker
        """Makes the rows."""

    @property
    def goes_through_app(self) -> bool:
        """Whether the calls of tasks go through the app's `send_task`: its class has one of its own, or a test has put
        something in its place. Not through what a library wraps around liteq's own: that wraps `apply_async` as well.
        """
        put = self.app.__dict__.get("send_task")  # liteq's own, where a test has put it back
        own = put is not None and getattr(put, "__func__", None) is not self._base.send_task
        if not own and (cls := type(self.app)) is not self._base:  # a library's wrapper is another object at each look
            own = next(one for one in cls.__mro__ if "send_task" in one.__dict__) is not self._base
        return own and not self.app.conf.task_always_eager

    def through_app(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None, task_id: str | None,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        """Send a call of `task` by that, which passes it on to liteq's own `send_task`; what it returns."""
        known = {"result_cls": task.AsyncResult, "task_type": task}  # as Celery's `apply_async`
        return self.app.send_task(task.name, args, kwargs, task_id=task_id, **known, **options)

    # -- one call

    def send_plain(self, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Send a call of the task `name` that has no options; None, and nothing is sent, where it is no plain one."""
        plain = self.publisher.plain
        try:
            send: Send | None = plain[name]
        except KeyError:
            d = self.publisher.defaults(name)
            general = self.app.conf.task_always_eager or getattr(self.app.tasks.get(name), "has_own_result", False)
            send = plain_sender(self.app, d) if d.is_plain and not general else None
            plain[name] = send
        return send and send(args, kwargs)

    def send_call(
        self, task: Any, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        """Send one call of `task` (None: of a task that this process does not know), as `apply_async` does."""
        if not options and task_id is None and (sent := self.send_plain(name, args, kwargs)) is not None:
            return sent
        if (observer := self.publisher.observer) is not None:
            with observer.sending():
                return self._send_call(task, name, args, kwargs, task_id, options)
        return self._send_call(task, name, args, kwargs, task_id, options)

    def _send_call(
        self, task: Any, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        app = self.app
        task_id = checked_id(task_id) if task_id else None
        if (workflow := context.workflow_here()) is not None and GRAPH.isdisjoint(options):
            stay_home(app, "a call of a workflow's body")
            recorded = workflow.send_call(name, args, kwargs, task_id, options)
            if recorded is not None:
                return recorded
        if app.conf.task_always_eager and task is not None:
            return send_here(app, self._maker, task, args, kwargs, task_id, options)
        if options and not GRAPH.isdisjoint(options):
            if task is not None and task.typing:
                task.check_arguments(args, kwargs)
            over = {**options, "task_id": task_id} if task_id else options
            return self.send_signature(Signature(name, tuple(args), dict(kwargs), over, app=app))
        if not app.middleware.publishes:
            return self._send_one(name, args, kwargs, task_id, options)
        return app.middleware.publish(
            checked_name(name, "a task's name"), args, kwargs, options,
            lambda call: self._send_one(call.task, call.args, call.kwargs, task_id, call.sent_options()),
        )  # fmt: skip

    def _send_one(
        self, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None,
        options: dict[str, Any],
    ) -> AsyncResult[Any]:  # fmt: skip
        """Send one message, through no middleware."""
        app = self.app
        chosen = () if task_id is None or (options and options.get("idempotent")) else (task_id,)
        message = self._maker.message(name, args, kwargs, options, message_id=task_id or new_id())
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            return self._send_with_signals(message, args, kwargs, options, chosen)
        batch = Batch([message])
        general = chosen or message.flags & Flag.REPLICATED
        stands = self._enqueue(batch, chosen) if general else app.storage.enqueue(batch)
        return self._result_of_sent(message, stands[0], options)

    def _enqueue(self, batch: Batch, chosen: Collection[str] = ()) -> list[str]:
        """Write `batch`; `chosen`: the ids in it that callers chose, under which a finished message runs again."""
        if not chosen:
            waits = asked_for(batch.messages)  # else three frames fewer
            return written(self.app, batch) if waits else self.app.storage.enqueue(batch)
        with self._unconfirmed.sending(chosen) as again:
            return written(self.app, batch, again)

    def _result_of_sent(self, message: Message, stands: str, options: Mapping[str, Any]) -> AsyncResult[Any]:
        result: AsyncResult[Any] = AsyncResult(stands, task_name=message.task, app=self.app)
        if message.unique_key is not None and (stands != message.id or self.app.storage.takes_parts()):
            result._duplicate = stands != message.id  # else it is on its way, and its row will tell
        if message.flags & Flag.IGNORE_RESULT:
            result.ignored = True
        note_child(context.get_current_task(), context.current_request(), result, options)
        return result

    def _send_with_signals(
        self, message: Message, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any],
        chosen: Collection[str],
    ) -> AsyncResult[Any]:  # fmt: skip
        """As `send_call`, with its signals: a receiver may add headers, which the task finds in its request."""
        changed = announce(self.app, message, args, kwargs, options)
        if changed is not None:
            args, kwargs, headers = changed
            options = {**options, "headers": headers}
            message = self._maker.message(message.task, args, kwargs, options, message_id=message.id, check=False)
        stands = (
            self._publish(message, args, kwargs, options, chosen) if is_replaced() else self._write(message, chosen)
        )
        result = self._result_of_sent(message, stands, options)
        announce_sent(self.app, [message])
        return result

    def _write(self, message: Message, chosen: Collection[str]) -> str:
        return self._enqueue(Batch([message]), chosen)[0]

    def _publish(
        self, message: Message, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any],
        chosen: Collection[str],
    ) -> str:  # fmt: skip
        """Write `message` through `Producer.publish`, which somebody has replaced; the id that stands in the file."""

        def write(headers: dict[str, Any]) -> str:
            own = {**options, "headers": headers}
            made = self._maker.message(message.task, args, kwargs, own, message_id=message.id, check=False)
            return self._write(made, chosen)

        return publish_through_producer(self.app, message, args, kwargs, options, write) or message.id

    def send_task(
        self, name: str, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None, options: Mapping[str, Any] = NO_OPTIONS,
    ) -> Any:  # fmt: skip
        """Send a task by its name, whether or not this process knows it. Options as `Task.apply_async`."""
        options = {key: value for key, value in options.items() if value is not None or key == "expires"}
        given = positional_of(args or None, kwargs or None)  # what is empty is none, whatever its type, as in Celery
        sent = options.pop("task_type", None)
        if sent is not None and sent.name == name:  # by `Task.apply_async`, through a `send_task` of the app's class
            options.pop("result_cls", None)
            return pass_on(sent, given, kwargs or {}, task_id, options)
        eager = self.app.conf.task_always_eager
        task = self.app.tasks.get(name) if eager else None
        if eager and task is None:
            text = (
                f"{name!r} is sent in spite of task_always_eager, as this process does not know it: import its module, "
                "or add a task of this name, to have it run here"
            )
            warnings.warn(AlwaysEagerIgnored(text), stacklevel=3)
        return self.send_call(task, name, given, kwargs or {}, task_id, options)

    # -- a signature

    def _goes_through_its_task(self, sig: Signature, options: Mapping[str, Any]) -> bool:
        """Whether the class of its task has an `apply_async` of its own that is to send `sig`."""
        member = "add_to_group" in options or "add_to_group" in sig.options
        if type(sig) is not Signature or member or not self.publisher.overrides(sig.task):
            return False
        return not has_been_through(self.app.tasks[sig.task])

    @observed
    def send_signature(
        self, sig: Signature, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send a signature or a canvas of them, in one transaction; its AsyncResult or GroupResult."""
        if (workflow := context.workflow_here()) is not None:
            stay_home(self.app, "a call of a workflow's body")
            recorded = workflow.send_signature(sig.clone(args, kwargs, **options) if args or kwargs or options else sig)
            if recorded is not None:
                return recorded
        if self._goes_through_its_task(sig, options):
            whole = sig.clone(args, kwargs, **options)
            return self.app.tasks[sig.task].apply_async(whole.args, whole.kwargs, **whole.options)
        member_of = options.pop("add_to_group", None) or sig.options.get("add_to_group")
        if member_of is not None:
            return self.send_as_member(sig, member_of, args, kwargs, **options)
        if self.app.conf.task_always_eager:
            return self._applied(sig, args, kwargs, options, sent=True)
        running = context.worker_request()
        root_id, parent_id = (running.root_id, running.id) if running is not None else (None, None)
        idempotent = options.pop("idempotent", False) or sig.options.get("idempotent", False)
        stream = GroupStream(
            self.app.storage,
            self._enqueue,
            self.app.conf.task_default_queue,
            self.app.clock.now_ms,
            again=not idempotent,
        )
        try:
            compiled = compile_signature(
                sig, self.publisher, args, kwargs, options, root_id=root_id, parent_id=parent_id,
                stream=stream if self.app.storage.takes_parts() else None,
            )  # fmt: skip
            if idempotent:
                keep_rows(compiled.batch)
            stands = self._send_compiled(compiled, stream, () if idempotent else compiled.chosen)
        except BaseException:
            stream.abort()
            raise
        announce_sent(self.app, stream.messages or compiled.batch.messages)
        result = self.result_of(compiled.node, stands)
        note_child(context.worker_task(), running, result, {**sig.options, **options})
        return result

    def _send_compiled(self, compiled: Compiled, stream: GroupStream, chosen: Collection[str]) -> Mapping[str, str]:
        """Write the rows that `stream` has not sent yet; the ids that stand for its nodes, where those are others."""
        batch = compiled.batch
        if stream.has_begun:
            confirmed(self.app, batch.messages, lambda: stream.finish(batch, chosen))
            return {}
        return batch.stands(self._enqueue(batch, chosen)) if batch.messages else {}

    @observed
    def send_as_member(
        self, sig: Any, group_id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send a signature as one more member of a group that has not finished; its result.

        A canvas without a task, such as an empty group, is no member of a group: nothing is sent. Raises ValueError for
        a group that has finished, or is unknown.
        """
        if (workflow := context.workflow_here()) is not None:
            workflow.refuse_sending("add_to_chord()")
        self.app.stay_home("a member of a group or chord")
        added = members_of(group_id)
        if added is not None:  # that is being evaluated here
            added.append(self.apply_signature(sig, args, kwargs, **options))
            return added[-1]
        running = context.worker_request()
        root_id, parent_id = (running.root_id, running.id) if running is not None else (None, None)
        compiled = compile_signature(
            sig, self.publisher, args, kwargs, options, root_id=root_id, parent_id=parent_id, group_id=group_id,
            position=UNPLACED, linked=True, depth=running.depth if running is not None else 1,
        )  # fmt: skip
        if not compiled.batch.messages:  # counted all the same, the group would wait for it for ever
            return self.result_of(compiled.node)
        messages = compiled.batch.messages
        ids = confirmed(self.app, messages, lambda: self.app.storage.groups.append(group_id, compiled.batch))
        if not ids:
            raise ValueError(f"the group {group_id} has finished: nothing can be added to it")
        announce_sent(self.app, compiled.batch.messages)
        return self.result_of(compiled.node, compiled.batch.stands(ids))

    def apply_signature(
        self, sig: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run a signature or a canvas here and now; its EagerResult, or a GroupResult of such."""
        return self._applied(sig, args, kwargs, options)

    def _applied(
        self, sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: dict[str, Any], *,
        sent: bool = False,
    ) -> Any:  # fmt: skip
        """As `apply_signature`; with `sent` its calls are sent, by their caller's word, and go through middleware."""
        sig = maybe_signature(sig, app=self.app)
        throw = options.pop("throw", None)
        run = runner(self.app, throw, through=sent and self.app.middleware.publishes)

        def gather(group_id: str, results: list[Any]) -> GroupResult:
            return GroupResult(group_id, results, app=self.app)

        return evaluate(sig, tuple(args), kwargs or {}, options, run=run, gather=gather)

    def result_of(self, node: Node, stands: Mapping[str, str] = NOTHING) -> Any:
        """The AsyncResult or GroupResult of the ids that a canvas was given, or of those that stand for them."""
        lineage = [node]
        while (above := lineage[-1].parent) is not None:  # a loop: a chain may be longer than Python's stack
            lineage.append(above)
        result: Any = None
        for one in reversed(lineage):
            if one.kind == "group":
                members = [self.result_of(child, stands) for child in one.children]
                result = GroupResult(stands.get(one.id, one.id), members, parent=result, app=self.app)
            else:
                result = AsyncResult(stands.get(one.id, one.id), app=self.app, parent=result)
                if one.id in stands:
                    result._duplicate = True
        return result

    # -- very many

    @observed
    def enqueue_many(self, calls: Any, arguments: Iterable[Sequence[Any]] | None = None) -> list[str]:
        """Send any number of calls in one commit, all or nothing; their ids, in order. The way for bulk.

        Of signatures; or of one task, or a task's name, and the positional arguments of each call: the quickest way.
        A canvas counts as its last message, or its group. Raises as `delay()`, and then nothing was sent.
        """
        if (workflow := context.workflow_here()) is not None:
            workflow.refuse_sending("enqueue_many()")
        if arguments is None:
            name, signatures = "", iter(calls)
        else:
            name = calls if isinstance(calls, str) else calls.name
            signatures = many.signatures_of(self.app, name, arguments)
        if self.app.conf.task_always_eager:
            return [self._applied(sig, (), None, {}, sent=True).id for sig in signatures]
        runs: list[many.Run] = []
        if context.worker_request() is None:
            if arguments is None:
                runs, signatures = many.gather(self.publisher, signatures)
            elif (d := self.publisher.defaults(name)).is_plain:
                runs, signatures = [(d, many.payloads_of(d, arguments))], iter(())
        return many.send(self.app, self.publisher, runs, signatures)
