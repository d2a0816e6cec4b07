"""`liteq top --once`: the tables as text, for a log, a mail, or a terminal without Textual."""

from __future__ import annotations

from typing import Any

from liteq.cli.parts.output import say, table
from liteq.cli.parts.session import Session
from liteq.cli.top.tables import MOST_ROWS, VIEWS, head, text

__all__ = ["show"]

SHOWN = ("1", "2", "3")


def show(session: Session, documents: dict[str, Any]) -> None:
    """Write the verdict, the queues, what runs, and the causes of failures."""
    say(text(documents["overview"]["verdict"]))
    say(head(documents))
    for key in SHOWN:
        view = VIEWS[key]
        lines = view.lines(documents)[:MOST_ROWS]
        if lines or key == "1":
            titles = [column.title for column in view.columns]
            table(session, titles, [line.cells for line in lines], empty="no queue has messages or workers")
    for warning in documents["overview"]["warnings"]:
        say(f"warning: {text(warning)}")
