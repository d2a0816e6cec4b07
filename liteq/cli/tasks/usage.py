"""`liteq usage`: what the steps of workflows have spent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, table
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import since

__all__ = ["usage"]

HEAD = ("requests", "input", "output", "cache read", "cache write", "cost", "saved", "memo hits", "unknown")
FIELDS = (
    "requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost", "saved",
    "memo_hits", "unknown",
)  # fmt: skip


@click.command(cls=Command)
@click.option(
    "--per",
    "--by",
    "by",
    type=click.Choice(["model", "workflow", "tag", "day"]),
    default="model",
    show_default=True,
    help="A sum for each of these. A run with several tags counts for each. --by is its old name.",
)
@click.option(
    "--since", "since_ms", callback=since, metavar="TIME",
    help="Spent since then: 12h, 7d, or a date. Else all that is known, for 400 days.",
)  # fmt: skip
@pass_session
def usage(session: Session, /, by: str, since_ms: int | None) -> int:
    """Show what steps have spent, as `ctx.spend` told, the dearest first.

    A cost is `null` where the price of one of its answers is not known. `unknown` counts attempts that were killed: the
    other side may have them on its bill. Money is a text, so that it stays exact.

    \b
    JSON: [{"model" (or what --per says), "requests", "input_tokens", "output_tokens", "cache_read_tokens",
            "cache_write_tokens", "cost", "saved", "memo_hits", "unknown", "models"}]
    """
    kind: Any = by
    session.needs_file()
    try:
        found = [_document(one) for one in session.app.usage(_span_s(session, since_ms), kind)]
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    rows = [(one[by] or "", *(_shown(one[name]) for name in FIELDS)) for one in found]
    emit(session, found, lambda: table(session, (by, *HEAD), rows, empty="nothing was spent"))
    return Exit.OK


def _span_s(session: Session, since_ms: int | None) -> float | None:
    """The span up to now that --since asks for."""
    if since_ms is None:
        return None
    return max(0, -since_ms if since_ms <= 0 else session.app.clock.now_ms() - since_ms) / 1000


def _shown(value: object) -> object:
    return "?" if value is None else value


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON: money as text."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Decimal):
            found[name] = format(value, "f")
        elif name == "models":
            found[name] = {model: _document(one) for model, one in value.items()}
        else:
            found[name] = value
    return found
