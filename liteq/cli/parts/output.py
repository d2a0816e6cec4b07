"""How results are written: JSON when asked for, tables on a terminal, tab-separated lines into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from liteq.cli.parts.session import Session
from liteq.utils.json_text import to_json
from liteq.utils.text import printable, span

__all__ = ["age", "counted", "emit", "json_text", "more", "paged", "say", "table", "without_none"]


def json_text(document: Any, *, lines: bool = False) -> str:
    """`document` as JSON, with `lines` in one line. What it has no form for (out of a payload) is written as text."""
    return to_json(document, indent=sys.stdout.isatty() and not lines).decode()


def emit(session: Session, document: Any, show: Callable[[], None]) -> None:
    """Write `document` as JSON with `--json`, else call `show`."""
    if not session.json:
        show()
    elif not session.gather(document):
        click.echo(json_text(document))


def say(text: str) -> None:
    """Write text that may hold what others wrote; its line breaks stay, other control characters do not."""
    click.echo("\n".join(printable(line) for line in text.split("\n")))


def table(session: Session, head: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Write a table; into a pipe, one line a row with tabs between the cells. `empty` is said when there is no row."""
    lines = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if not lines:
        session.note(empty)
    elif session.on_terminal:
        _rich_table(session, head, lines)
    else:
        for line in (head, *lines):
            click.echo("\t".join(line))


def _rich_table(session: Session, head: Sequence[str], lines: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in head:
        numeric = all(line[head.index(name)].replace(",", "").isdigit() for line in lines)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        made.add_row(*(Text(cell) for cell in line))
    Console(no_color=session.no_color or None, highlight=False).print(made)


def paged(command: Callable[..., Any], *, default: int = 50) -> Callable[..., Any]:
    """The options by which every list goes a page at a time."""
    text = "Begin behind this one, the last of the page before."
    command = click.option("--after", metavar="ID", help=text)(command)
    kind = click.IntRange(min=1)
    return click.option("--limit", type=kind, default=default, show_default=True, help="Show at most this many.")(
        command
    )


def more(session: Session, last: object, *, is_full: bool) -> None:
    """Say how the next page is asked for, where this one `is_full`. JSON is for programs, which count."""
    if is_full and not session.json:
        session.note(f"there may be more: --after {last} shows the next page")


# -- parts that several commands show --------------------------------------------------------------------------------


def age(now_ms: int, then_ms: int | None) -> str:
    """How long ago, or in how long, in words: "3.0 s ago", "in 5 min"."""
    if then_ms is None:
        return ""
    words = span(abs(now_ms - then_ms) / 1000)
    return f"{words} ago" if now_ms >= then_ms else f"in {words}"


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 message", "2 messages"."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `values` that were given."""
    return {name: value for name, value in values.items() if value is not None}
