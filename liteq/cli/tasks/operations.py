"""`liteq operations`: actions on many messages, that can be watched, stopped and continued."""

from __future__ import annotations

from typing import Any

import click

from liteq.cli.group import Group
from liteq.cli.parts.asking import SURE, acting, confirm, confirm_deletion
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import one_of
from liteq.cli.parts.output import age, counted, emit, more, paged, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.tasks.act import arguments_of, with_arguments
from liteq.monitor import operations as monitor
from liteq.operating import Preview, preview, resume_operation, start, stop
from liteq.storage.operating.acting import STATES

__all__ = ["do", "operations"]


@click.group(cls=Group)
def operations() -> None:
    """Actions on many messages: list, show, start, stop, continue."""


@operations.command("list")
@paged
@pass_session
def list_(session: Session, /, limit: int, after: str | None) -> int:
    """List the newest operations, and how far each has come. One that is `interrupted` can be continued.

    \b
    JSON: [{"id", "kind", "q", "actor", "reason", "state", "found", "done", "skipped", ...}]
    """
    _ = session.storage
    try:
        found = monitor.operations(session.app, after=after, limit=limit)["items"]
    except ValueError:
        raise click.UsageError(f"--after: there is no operation {after!r}; give the last of a page") from None
    now_ms = session.app.clock.now_ms()
    head = ("id", "action", "state", "done", "skipped", "found", "by", "began", "search")
    rows = [
        (
            one["id"], one["kind"], one["state"], one["done"], one["skipped"], _found(one["found"]), one["actor"],
            age(now_ms, one["created"]), one["q"] or counted(one["ids"], "id"),
        )
        for one in found
    ]  # fmt: skip
    emit(session, found, lambda: table(session, head, rows, empty="there was no operation"))
    if found:
        more(session, found[-1]["id"], is_full=len(found) == limit)
    return Exit.OK


def _found(count: dict[str, Any]) -> str:
    return f"{count['n']:,}" + ("" if count["exact"] else "+")


@operations.command()
@click.argument("id_", metavar="ID")
@pass_session
def show(session: Session, /, id_: str) -> int:
    """Show one operation. Exits with 1 where there is none of this ID.

    \b
    JSON: as an element of `list`
    """
    _ = session.storage
    return _show(session, id_)


def _show(session: Session, id_: str) -> int:
    found = monitor.operation(session.app, id_)
    if found is None:
        raise click.ClickException(f"there is no operation {id_!r}; `liteq operations list` lists them")

    def write() -> None:
        say(
            f"{found['kind']} {found['id']}: {found['state']}, {found['done']:,} done, {found['skipped']:,} skipped "
            f"of {_found(found['found'])} found" + (f"; {found['error']}" if found["error"] else "")
        )

    emit(session, found, write)
    return Exit.FAILED if found["state"] == "failed" else Exit.OK


@operations.command("start")
@click.argument("action", metavar="ACTION", callback=one_of("action", STATES))
@click.option("--where", "q", required=True, metavar="SEARCH", help='The messages: "state:dead queue:mail since:1h".')
@with_arguments
@click.option("--rate", default="", metavar="RATE", help="No more than so many: 50/s, 1000/m.")
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what would be done.")
@SURE
@pass_session
def start_(session: Session, /, action: str, q: str, rate: str, dry_run: bool, sure: bool, **options: Any) -> int:
    """Do ACTION to all messages that a search finds, at most 500 a transaction. Shows what it finds, and asks first.

    The search has the words of the pages: `state:dead queue:mail task:shop.* error:CardError since:1h`. One for runs of
    workflows has `workflow:NAME` or `status:stuck`. Ctrl-C stops it; `liteq operations continue` lets it go on.

    \b
    JSON: as `show`; with --dry-run {"found", "eligible", "ineligible", "follows", "sample", "command"}
    """
    if dry_run:
        seen = look(session, action, q, **arguments_of(action, options))
        emit(session, seen.document, lambda: say(told(seen)))
        return Exit.OK
    return do(session, action, q, rate=rate, sure=sure, **arguments_of(action, options))


def look(session: Session, action: str, q: str, **arguments: Any) -> Preview:
    """A preview for the command line. Raises UsageError for a search or an argument that is wrong."""
    _ = session.storage
    try:
        return preview(session.app, action, q, **arguments)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def told(seen: Preview) -> str:
    """A preview in words."""
    lines = [f"{_found({'n': seen.eligible, 'exact': seen.exact})} of {_found({'n': seen.found, 'exact': seen.exact})}"]
    lines[0] += " messages that were found"
    lines += [f"not {n:,}: {why}" for why, n in seen.ineligible.items()]
    if seen.follows:
        lines.append(f"{_found({'n': seen.follows, 'exact': seen.follows_exact})} more follow them")
    lines += ["{id} {task} in {queue}, {state}".format(**one) for one in seen.sample]
    return "\n".join(lines)


def do(
    session: Session, action: str, q: str, *, rate: str = "", sure: bool = False, **arguments: Any
) -> int:  # fmt: skip
    """Show what a search finds, ask, and do `action` to it as an operation in this process, up to its end."""
    seen = look(session, action, q, **arguments)
    if not sure and not session.json:
        say(told(seen))
    what = f"{_found({'n': seen.eligible, 'exact': seen.exact})} messages ({q})"
    if action == "delete":
        confirm_deletion(what, sure=sure, option="--yes")
    else:
        confirm(f"{action} {what}?", f"this is to {action} {what}", sure=sure, option="--yes")
    try:
        id_ = start(session.app, action, q, by=session.actor(), rate=rate, wait=True, **arguments)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return _show(session, id_)


@operations.command("stop")
@click.argument("id_", metavar="ID")
@acting
@pass_session
def stop_(session: Session, /, id_: str) -> int:
    """Ask an operation to stop after its current chunk, in whichever process it runs. It can be continued.

    \b
    JSON: as `show`
    """
    _ = session.storage
    stop(session.app, id_, by=session.actor())
    return _show(session, id_)


@operations.command("continue")
@click.argument("id_", metavar="ID")
@acting
@pass_session
def continue_(session: Session, /, id_: str) -> int:
    """Go on in this process with an operation that was stopped, has failed, or was interrupted.

    \b
    JSON: as `show`
    """
    _ = session.storage
    resume_operation(session.app, id_, by=session.actor(), wait=True)
    return _show(session, id_)
