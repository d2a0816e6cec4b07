"""Starting a run: from a program, from a body, from a step, and in place under `task_always_eager`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from liteq import context
from liteq.workflow.calling.effects import start
from liteq.workflow.client.run import Run
from liteq.workflow.declared.declaration import Declaration
from liteq.workflow.history.frames import here

__all__ = ["start_run"]


def start_run(flow: Declaration[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run[Any]:
    """Start a run of `flow`, by its options; the run that stands under its id."""
    app, asked = flow.app, flow.asked
    frame = here()
    if frame is not None and hasattr(frame, "branch"):  # a body
        flow.check_arguments(args, kwargs)
        message = flow.message(args, kwargs, id_=flow.new_id(), **frame.machine.family)
        id_ = start(frame, flow.name, message, (args, kwargs, asked.id), asked.on_conflict, flow.event_of())
        return Run(app, id_, flow)
    if app.conf.task_always_eager:
        from liteq.workflow.client.inplace import start_eagerly  # it brings what executes

        return start_eagerly(flow, args, kwargs)
    observer = app.publisher.observer
    with nullcontext() if observer is None else observer.sending():
        return _start(flow, frame, args, kwargs)


def _start(flow: Declaration[Any, Any], frame: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run[Any]:
    app, asked = flow.app, flow.asked
    message = flow.message(args, kwargs, id_=flow.new_id())
    transaction = getattr(frame, "transaction", None)  # of a step in the queue's file: the run belongs to its commit
    runs: Any = transaction if hasattr(transaction, "start") else app.storage.runs
    started = runs.start(message, on_conflict=asked.on_conflict, event=flow.event_of())
    run: Run[Any] = Run(app, started.id, flow)
    run.duplicate = started.id != message.id
    running = context.current_request()
    if running is not None:
        running.children.append(run)
    return run
