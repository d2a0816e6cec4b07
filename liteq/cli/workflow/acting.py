"""The commands that act upon one run: send, approve, fork, rewind."""

from __future__ import annotations

from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.asking import acting, by_option
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.workflow.choosing import found
from liteq.operating import act
from liteq.utils import json_text

__all__ = ["ACTING"]


def from_json(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    """A callback for a value in JSON; None where it is not given."""
    if text is None:
        return None
    try:
        return json_text.from_json(text.encode())
    except ValueError as exc:
        raise click.BadParameter(f"{text!r:.200} is not JSON ({exc}); write a text as '\"text\"'") from None


@click.command("send", cls=Command)
@click.argument("id_", metavar="ID")
@click.argument("name")
@click.argument("payload", metavar="[JSON]", callback=from_json, required=False)
@click.option("--dedup", metavar="KEY", help="Do nothing if the run got an event with this key before.")
@pass_session
def send(session: Session, /, id_: str, name: str, payload: Any, dedup: str | None) -> int:
    """Send the event NAME to the run ID. The run may start later. Without JSON the payload is null.

    Exits with 1 for a run that has ended.

    \b
    JSON: [{"id", "name", "known"}]
    """
    _ = session.storage  # there must be a file: an event makes none
    session.app.Run(id_).send(name, payload, dedup=dedup)
    known = session.storage.runs.find(id_) is not None
    if not known:
        session.note(f"no run {id_!r} is known yet: the event waits for it")
    emit(session, [{"id": id_, "name": name, "known": known}], lambda: say(f"Sent {name} to {id_}."))
    return Exit.OK


@click.command("approve", cls=Command)
@click.argument("id_", metavar="ID")
@click.argument("title")
@click.option("--yes/--no", "ok", default=None, help="The decision.")
@by_option
@click.option("--comment", default="", metavar="TEXT", help="A comment, for the run to see.")
@click.option("--data", callback=from_json, metavar="JSON", help="The data that the approval's form asks for.")
@pass_session
def approve(session: Session, /, id_: str, title: str, ok: bool | None, comment: str, data: Any) -> int:
    """Decide the oldest open approval TITLE of the run ID: --yes or --no. `liteq workflow pending` lists the open ones.

    The same decision again changes nothing. Another decision, or data that does not fit the form, exits with 1.

    \b
    JSON: [{"id", "title", "ok", "by", "decided"}]
    """
    if ok is None:
        raise click.UsageError("say the decision: --yes or --no")
    found(session, id_)
    _import(session)
    by = session.actor().name
    try:
        decided = session.app.Run(id_).approve(title, ok, by=by, comment=comment, data=data)
    except ValueError as exc:
        raise click.ClickException(str(exc)) from None
    word = "Approved" if ok else "Rejected"

    def write() -> None:
        say(f"{word} {title!r} of {id_}." if decided else f"{title!r} of {id_} was decided so before.")

    emit(session, [{"id": id_, "title": title, "ok": ok, "by": by, "decided": decided}], write)
    return Exit.OK


def _import(session: Session) -> None:
    """Import the app's modules: the type of a form is in them. Without them its schema counts."""
    try:
        session.import_commands()
    except Exception as exc:  # noqa: BLE001 - the modules of the user; the decision does not depend on them
        session.note(f"the form is checked by its schema: importing the app's tasks raised {type(exc).__name__}: {exc}")


@click.command("fork", cls=Command)
@click.argument("id_", metavar="ID")
@click.argument("step", metavar="STEP", type=click.IntRange(min=1))
@click.option("--id", "new", metavar="ID", help="The id of the new run.")
@pass_session
def fork(session: Session, /, id_: str, step: int, new: str | None) -> int:
    """Start a new run with the steps of the run ID before number STEP, and print its id. The original stays as it is.

    \b
    JSON: [{"id", "forked_from"}]
    """
    found(session, id_)
    made = session.app.Run(id_).fork(step, id=new)
    emit(session, [{"id": made.id, "forked_from": id_}], lambda: say(made.id))
    return Exit.OK


@click.command("rewind", cls=Command)
@click.argument("id_", metavar="ID")
@click.argument("step", metavar="STEP", type=click.IntRange(min=1))
@acting
@pass_session
def rewind(session: Session, /, id_: str, step: int) -> int:
    """Forget the steps of the run ID from number STEP on, and run them again. Refused while the run executes.

    \b
    JSON: [{"id", "step"}]
    """
    found(session, id_)
    act(session.app, "rewind", id_, by=session.actor(), step=step)
    emit(session, [{"id": id_, "step": step}], lambda: say(f"{id_} goes on before step {step}."))
    return Exit.OK


ACTING = (send, approve, fork, rewind)
