"""`liteq memo`: the results that steps share between runs."""

from __future__ import annotations

import click

from liteq.cli.asking import confirm_deletion
from liteq.cli.exits import Exit
from liteq.cli.group import Group
from liteq.cli.output import counted, emit, say, table
from liteq.cli.session import Session, pass_session
from liteq.monitor.runs import memo_document

__all__ = ["memo"]


@click.group(cls=Group)
def memo() -> None:
    """The memo of steps: stats, clear."""


@memo.command()
@pass_session
def stats(session: Session, /) -> int:
    """Show how many results the memo keeps of each step, their size, and how many are being computed.

    \b
    JSON: [{"name", "kept", "bytes", "computing"}]
    """
    found = [memo_document(one) for one in session.storage.runs.memo_stats()]
    head = ("step", "kept", "bytes", "computing")
    rows = [(one["name"], one["kept"], f"{one['bytes']:,}", one["computing"]) for one in found]
    emit(session, found, lambda: table(session, head, rows, empty="the memo is empty"))
    return Exit.OK


@memo.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Of all steps.")
@click.option("-y", "--yes", "-f", "--force", "sure", is_flag=True, help="Do not ask.")
@pass_session
def clear(session: Session, /, name: str | None, every: bool, sure: bool) -> int:
    """Forget the results of the step NAME, or of --all: the next run that asks pays anew. Asks first with --all.

    \b
    JSON: [{"cleared"}]
    """
    if (name is None) != every:
        raise click.UsageError("give the NAME of a step, or --all")
    storage = session.storage.runs
    if name is None:
        confirm_deletion("all results of the memo", sure=sure, option="--yes")
    elif name not in {one.name for one in storage.memo_stats()}:
        session.note(f"the memo holds nothing of {name!r}; `liteq memo stats` lists its steps")
    cleared = storage.clear_memo(name)
    emit(session, [{"cleared": cleared}], lambda: say(f"{counted(cleared, 'result')} cleared."))
    return Exit.OK
