"""Targets of `call`, `spawn` and `map`: a task, a workflow, a step, a function, or a whole canvas; and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from liteq.canvas import Signature
from liteq.context import App
from liteq.exceptions import WorkflowError
from liteq.message import Batch, Flag, Message, RunSpec, new_id
from liteq.sending.compile import compile_signature
from liteq.workflow.declared.declaration import Declaration
from liteq.workflow.declared.sent_step import to_send
from liteq.workflow.declared.step import Step
from liteq.workflow.history.codec import Form
from liteq.workflow.history.machine import Machine

__all__ = ["Canvas", "Target", "target_of"]

CHILD = Flag.CHILD | Flag.LINKED


class Target(Protocol):
    """Something that is sent for a body."""

    name: str
    key: str | None
    form: Form | None
    given: Sequence[Any] | None
    """Of a canvas, which has its arguments already: they, as a replay compares them."""
    id: str | None
    """That of its run, where one was asked for."""
    step: Step[Any, Any] | None
    """The step that is sent: its compensation is its caller's."""

    def batch(self, machine: Machine, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Batch, str]:
        """The rows of one call, and the id of the one whose end is its end."""


def target_of(app: App, target: Any) -> Target:
    """`target` as it is sent. Raises WorkflowError for what is none."""
    if isinstance(target, Declaration):
        return _Flow(target)
    if isinstance(target, Step):
        return _Step(target)
    if isinstance(target, Signature):
        return Canvas(target)
    if hasattr(target, "apply_async") and hasattr(target, "name"):
        return _Task(target)
    if isinstance(target, str):
        return _Task(app.tasks[target])
    if callable(target):
        name = getattr(target, "__qualname__", repr(target))
        raise WorkflowError(
            f"{name} is a plain function, which other processes do not know: decorate it by @app.step, or ctx.run() it"
        )
    raise WorkflowError(f"call, spawn and map take a task, a workflow, a step or a canvas, not {target!r}")


class _Task:
    key: str | None = None
    given: Sequence[Any] | None = None
    id: str | None = None
    step: Step[Any, Any] | None = None

    def __init__(self, task: Any) -> None:
        self.task = task
        self.name: str = task.name
        self.form: Form | None = None

    def batch(self, machine: Machine, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Batch, str]:
        make = machine.app.publisher.message
        message = make(self.name, args, kwargs, message_id=new_id(), flags=CHILD, **machine.family)
        message.flags &= ~Flag.IGNORE_RESULT
        return Batch([message]), message.id


class _Flow:
    key: str | None = None
    given: Sequence[Any] | None = None
    step: Step[Any, Any] | None = None

    def __init__(self, flow: Declaration[Any, Any]) -> None:
        self.flow = flow
        self.name = flow.name
        self.form: Form | None = flow.codec.result
        self.id = flow.asked.id
        if flow.asked.on_conflict != "fail" or flow.asked.event is not None:
            raise WorkflowError(
                f"workflow {flow.name!r}: call, spawn and map begin a run of their own; on_conflict= and event= are "
                "for `start()`, which does not wait: an event goes to a child by ctx.send(handle.id, name)"
            )

    def batch(self, machine: Machine, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Batch, str]:
        message = self.flow.message(args, kwargs, id_=self.id or new_id(), **machine.family)
        message.flags |= CHILD
        return Batch([message]), message.id


class _Step:
    given: Sequence[Any] | None = None
    id: str | None = None

    def __init__(self, step: Step[Any, Any]) -> None:
        self.step: Step[Any, Any] | None = step
        self._step = step
        self.name = step.name
        self.key = step.key
        self.form: Form | None = step.form

    def batch(self, machine: Machine, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Batch, str]:
        step, app, lease = self._step, machine.app, machine.lease
        step.codec.parameters.check(args, kwargs)
        payload = app.content.write(
            list(step.codec.dump(args, kwargs)), None, None, what=f"the arguments of {step.what}"
        )
        message = Message(
            new_id(), step.name, payload, step.queue or lease.queue,
            lease.priority if step.priority is None else step.priority,
            flags=Flag.RUN | Flag.STEP | CHILD, run=RunSpec(version=""), options=to_send(step), **machine.family,
            # One with a fallback takes its places itself, when it knows with which argument it runs.
            keys=None if step.keyed is None or step.fallback else step.keyed.keys_of(args, kwargs),
        )  # fmt: skip
        return Batch([message]), message.id


class Canvas:
    """A whole canvas as a target: its graph is one child."""

    key: str | None = None
    id: str | None = None
    step: Step[Any, Any] | None = None

    def __init__(self, sig: Signature) -> None:
        self.sig = sig
        self.name = str(sig.get("task") or sig.get("subtask_type") or "canvas")
        self.form: Form | None = None
        self.given: Sequence[Any] | None = (_shape(sig),)

    def batch(self, machine: Machine, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Batch, str]:
        if args or kwargs:
            raise WorkflowError(f"a canvas is called without arguments: give them to its tasks, not to {self.name!r}")
        lease = machine.lease
        compiled = compile_signature(self.sig, machine.app.publisher, linked=True, **machine.family)
        if not compiled.batch.messages:
            raise WorkflowError("an empty canvas has no result to wait for")
        alias = Message(
            new_id(), self.name, b"[[],{}]", lease.queue, lease.priority, awaits=compiled.node.id,
            flags=Flag.ALIAS | CHILD, **machine.family,
        )  # fmt: skip
        compiled.batch.messages.append(alias)
        return compiled.batch, alias.id


def _shape(value: Any) -> Any:
    """A canvas as plain data without the ids that are made anew each time."""
    if isinstance(value, dict):
        return {
            key: _shape(one)
            for key, one in value.items()
            if key not in {"task_id", "root_id", "parent_id", "group_id", "app", "chord_size", "_app"}
        }
    return [_shape(one) for one in value] if isinstance(value, (list, tuple)) else value
