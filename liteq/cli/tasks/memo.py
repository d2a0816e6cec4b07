"""`liteq memo`: the results that steps share between runs."""

from __future__ import annotations

import click

from liteq.cli.group import Group
from liteq.cli.parts.asking import SURE, confirm_deletion
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import filled
from liteq.cli.parts.output import counted, emit, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.monitor.runs.runs import memo_document, memo_entry_document

__all__ = ["memo"]

NAME = click.option("--name", metavar="NAME", help="Of this step alone.")
SCOPE = click.option("--scope", metavar="TAG", help="Of steps with a memo_scope, of this tag alone: tenant:a.")
OLDER = click.option("--older-than", "--older", "older_s", type=SPAN, help="Kept since then at least: 12h, 7d.")


@click.group(cls=Group)
def memo() -> None:
    """The memo of steps: stats, list, show, clear."""


@memo.command()
@pass_session
def stats(session: Session, /) -> int:
    """Show how many results the memo keeps of each step, how often they have answered, and what that has saved.

    The saving is the price of what `ctx.spend` told when the result was computed, once for each answer.

    \b
    JSON: [{"name", "entries", "hits", "bytes", "saved", "computing"}]
    """
    found = [memo_document(one) for one in session.storage.runs.memo_stats()]
    head = ("step", "kept", "hits", "bytes", "saved", "computing")
    rows = [
        (one["name"], one["entries"], one["hits"], f"{one['bytes']:,}", one["saved"], one["computing"]) for one in found
    ]
    emit(session, found, lambda: table(session, head, rows, empty="the memo is empty"))
    return Exit.OK


@memo.command("list")
@NAME
@SCOPE
@OLDER
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@pass_session
def list_(session: Session, /, name: str | None, scope: str | None, older_s: float | None, limit: int) -> int:
    """List the results that the memo keeps, the newest first.

    \b
    JSON: [{"key", "name", "scope", "bytes", "hits", "saved", "created", "expires"}]
    """
    storage = session.storage.runs
    kept = storage.memo_entries(name=name, scope=scope, older_s=older_s, limit=limit)
    found = [memo_entry_document(one) for one in kept]
    head = ("key", "scope", "bytes", "hits", "saved", "created", "expires")
    rows = [tuple("" if one[field] is None else one[field] for field in head) for one in found]
    emit(session, found, lambda: table(session, head, rows, empty="the memo keeps nothing that fits"))
    return Exit.OK


@memo.command()
@click.argument("key")
@pass_session
def show(session: Session, /, key: str) -> int:
    """Show the result that the memo keeps under KEY, as `list` tells it.

    \b
    JSON: {"key", "name", "scope", "bytes", "hits", "saved", "created", "expires", "value"}
    """
    entry = session.storage.runs.memo_entry(key)
    if entry is None:
        raise click.ClickException(f"the memo keeps nothing under {key!r}; `liteq memo list` lists its keys")
    found = memo_entry_document(entry, whole=True)

    def write() -> None:
        for field, one in found.items():
            if one is not None:
                say(f"{field}: {one}")

    emit(session, found, write)
    return Exit.OK


@memo.command()
@click.argument("named", metavar="[NAME]", required=False, callback=filled)
@NAME
@SCOPE
@OLDER
@click.option("--all", "every", is_flag=True, help="Of all steps, as without a filter.")
@SURE
@pass_session
def clear(
    session: Session, /, named: str | None, name: str | None, scope: str | None, older_s: float | None, every: bool,
    sure: bool,
) -> int:  # fmt: skip
    """Forget results: of a step, of a tag, of an age, or all. The next run that asks pays anew.

    Without NAME and filters, all results of all steps: this asks first.

    \b
    JSON: [{"cleared"}]
    """
    if named is not None and name is not None:
        raise click.UsageError("give the step once: NAME or --name NAME")
    name = named or name
    narrowed = name is not None or scope is not None or older_s is not None
    if every and narrowed:
        raise click.UsageError("give --all, or say which results: NAME, --scope, --older-than")
    storage = session.storage.runs
    if not narrowed:
        confirm_deletion("all results of the memo", sure=sure, option="--yes")
    elif name is not None and name not in {one.name for one in storage.memo_stats()}:
        session.note(f"the memo holds nothing of {name!r}; `liteq memo stats` lists its steps")
    cleared = storage.clear_memo(name, scope=scope, older_s=older_s)
    emit(session, [{"cleared": cleared}], lambda: say(f"{counted(cleared, 'result')} cleared."))
    return Exit.OK
