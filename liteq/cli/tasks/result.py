"""`liteq result`: what became of a task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click

from liteq import states
from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, json_text, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.exceptions import LiteqError, TimeoutError

__all__ = ["needs_wait", "result", "show_result"]


class NoSuchMessage(LiteqError):
    """Raised when the file knows nothing of an id."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"no such message {id_!r}; it was never sent, or its result has expired")


@click.command(cls=Command)
@click.argument("task_id", metavar="ID")
@click.option("-t", "--task", expose_value=False, hidden=True)
@click.option("--traceback", is_flag=True, help="If it failed, print the worker's traceback too.")
@click.option("--wait", is_flag=True, help="Wait until it has finished.")
@click.option("--timeout", type=SPAN, help="With --wait: give up after this time: 30s, 5m.")
@pass_session
def result(session: Session, /, task_id: str, traceback: bool, wait: bool, timeout: float | None) -> int:
    """Print the return value of ID as JSON, or its exception.

    Of one that runs, its state and what it tells of its progress (`update_state`).

    Exits with 0 when it succeeded, 1 when it failed or is not known, 75 while it is unfinished.

    \b
    JSON: {"id", "task", "state", "result", "progress", "error": {"type", "message"}, "traceback", "date_done"}
    """
    needs_wait(timeout, wait)
    _ = session.storage  # there must be a file: asking for a result makes none
    found = session.app.AsyncResult(task_id)
    if not found.exists():
        raise NoSuchMessage(task_id)
    return show_result(session, found, wait_s=timeout if wait else 0, with_traceback=traceback)


def needs_wait(timeout: float | None, wait: bool) -> None:
    """Raise UsageError for a --timeout without a --wait, which would not be waited for."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")


def show_result(session: Session, found: Any, *, wait_s: float | None, with_traceback: bool = False) -> int:
    """Wait up to `wait_s` seconds (None: for ever), print the result, and say it as an exit code."""
    try:
        with _drawn(session, found, wait_s) as look:
            found.get(timeout=wait_s, propagate=False, on_interval=look)
    except TimeoutError:
        pass  # its state tells
    state = found.state
    value = found.result
    failed = isinstance(value, BaseException)
    progress = None if failed or state in states.READY_STATES else value  # the meta of update_state()
    error = {"type": _type_name(value), "message": _message(value)} if failed else None
    document = {
        "id": found.id,
        "task": found.name,
        "state": state,
        "result": None if failed or state != states.SUCCESS else value,
        "progress": progress,
        "error": error,
        "traceback": found.traceback,
        "date_done": found.date_done,
    }

    def show() -> None:
        if error is not None:
            say(f"{state}: {error['type']}: {error['message']}")
            if with_traceback and found.traceback:
                say(found.traceback)
        elif state == states.SUCCESS:
            click.echo(json_text(value))
        else:
            say(state if progress is None else f"{state} {json_text(progress)}")

    emit(session, document, show)
    if state == states.SUCCESS:
        return Exit.OK
    return Exit.FAILED if state in states.READY_STATES else Exit.TRY_AGAIN


def _drawn(session: Session, found: Any, wait_s: float | None) -> AbstractContextManager[Callable[[], None] | None]:
    """Draws the progress of `found` on the standard error, where it is waited for and a person may look."""
    if wait_s == 0 or session.quiet or session.json:
        return nullcontext()
    from liteq.result.drawing import drawn

    return drawn(found, no_color=session.no_color)


def _type_name(exc: BaseException) -> str:
    return getattr(exc, "type_name", "") or type(exc).__name__


def _message(exc: BaseException) -> str:
    return str(exc.args[0]) if getattr(exc, "type_name", "") and exc.args else str(exc)
