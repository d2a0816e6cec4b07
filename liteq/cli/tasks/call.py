"""`liteq call`: send a task by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, without_none
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.cli.tasks.result import needs_wait, show_result
from liteq.exceptions import NotRegistered
from liteq.utils.durations import seconds
from liteq.utils.json_text import from_json

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["call"]


Callback = Callable[[click.Context, click.Parameter, Any], Any]


def _json(kind: type, word: str, example: str) -> Callback:
    """Reads a JSON value of one kind. Its error does not repeat the text, as an argument may be a password."""

    def read(_ctx: click.Context, _param: click.Parameter, text: str) -> Any:
        try:
            found = from_json(text.encode())
        except ValueError as exc:
            raise click.BadParameter(f"not JSON: {exc}; write for example {example}") from None
        if not isinstance(found, kind):
            raise click.BadParameter(f"not a JSON {word}; write for example {example}")
        return found

    return read


def _moment(*, spans: bool) -> Callback:
    """Reads a time in ISO format or, where they are taken, a span from now."""

    def read(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | datetime | None:
        if text is None:
            return None
        from datetime import datetime

        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
        try:
            if spans:
                return seconds(text)
            raise ValueError(text)
        except ValueError:
            wanted = "a span, as 90 or 2h, or a time in ISO format" if spans else "a time in ISO format"
            raise click.BadParameter(f"{text!r} is not {wanted}, such as 2030-01-31T12:00:00+00:00") from None

    return read


ARRAY = _json(list, "array", "'[1, 2]'")
OBJECT = _json(dict, "object", "'{\"x\": 1}'")


def accepted(*names: str) -> Callable[[Any], Any]:
    """An option that is taken for Celery's sake and does nothing."""
    return click.option(*names, expose_value=False, hidden=True)


@click.command(cls=Command)
@click.argument("name")
@click.option("-a", "--args", metavar="JSON", callback=ARRAY, default="[]", help="Positional arguments, an array.")
@click.option("-k", "--kwargs", metavar="JSON", callback=OBJECT, default="{}", help="Named arguments, an object.")
@click.option(
    "--eta",
    metavar="TIME",
    callback=_moment(spans=False),
    help="Run it at this time at the earliest: ISO format, UTC by default.",
)
@click.option("--countdown", type=SPAN, help="Run it after this time at the earliest: 90, 30s, 2h.")
@click.option(
    "--expires",
    metavar="TIME",
    callback=_moment(spans=True),
    help="Do not start it later: a span from now, as 90 or 2h, or as --eta.",
)
@click.option("-Q", "--queue", metavar="NAME", help="Send it to this queue.")
@click.option("--routing-key", metavar="NAME", help="As --queue, where no queue is given.")
@click.option("--priority", type=int, help="Higher goes first.")
@click.option("--task-id", metavar="ID", help="The message's id; sent twice with one id, it runs once.")
@click.option("--wait", is_flag=True, help="Wait for the result.")
@click.option("--timeout", type=SPAN, help="With --wait: give up after this time: 30s, 5m.")
@accepted("--serializer")
@accepted("--exchange")
@pass_session
def call(
    session: Session,
    /,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    wait: bool,
    timeout: float | None,
    **options: Any,
) -> int:
    """Send the task NAME and print its id.

    With -A the name must be one of the app's tasks, and the arguments must fit. With -b alone no tasks are known, so
    any name is accepted.

    \b
    JSON: {"id", "task"}; with --wait what `liteq result` writes.
    """
    needs_wait(timeout, wait)
    app = session.app
    if session.has_app:
        app.import_tasks()
        if name not in app.tasks:
            raise NotRegistered(name, app.tasks)
    try:
        if session.has_app:
            sent = app.tasks[name].apply_async(args, kwargs, **without_none(options))
        else:
            sent = app.send_task(name, args, kwargs, **without_none(options))
    except (TypeError, ValueError) as exc:
        raise _refused(exc) from exc
    if not wait:
        emit(session, {"id": sent.id, "task": name}, lambda: click.echo(sent.id))
        return Exit.OK
    return show_result(session, sent, wait_s=timeout)


def _refused(exc: Exception) -> Exception:
    """Arguments that do not fit are the caller's mistake; what liteq refuses has its own class."""
    from liteq.exceptions import LiteqError

    return exc if isinstance(exc, LiteqError) else click.UsageError(str(exc))
