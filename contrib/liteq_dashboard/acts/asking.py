"""Acts on workers and schedules: the page that asks, and the act, noted in the audit with its actor and reason."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from liteq_dashboard.acts.acting import note
from liteq_dashboard.http import Reader, Request, Response
from liteq_dashboard.links import link
from liteq_dashboard.render import html, problem, redirect

__all__ = ["Asked", "Field", "carry_out", "confirm"]


class Field(NamedTuple):
    """A field of the page that asks: `kind` is text, optional, number, json or choice."""

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    options: Sequence[str] = ()


class Asked(NamedTuple):
    """The question before an act: its words, its fields, and the same act as a `liteq` command, where there is one."""

    heading: str
    text: str
    button: str
    command: Sequence[str]
    fields: Sequence[Field] = ()
    is_grave: bool = False


def confirm(
    request: Request, asked: Asked, back: str, kept: Sequence[tuple[str, str]] = (), to: str = ""
) -> Response:  # fmt: skip
    """The page that asks: a form that posts to its own address, or `to`. `kept`: what it carries as it is."""
    return html(
        request, "confirm.html", heading=asked.heading, text=asked.text, button=asked.button, fields=asked.fields,
        kept=kept, tone="danger" if asked.is_grave else "main", back=back,
        action=to or link(request.base, request.path),
        command=shlex.join(["liteq", *asked.command]) if asked.command else "",
    )  # fmt: skip


def carry_out(
    request: Request, reader: Reader, act: Callable[[], Any], *, action: str = "", target: str = "", back: str,
    said: str, queue: str | None = None,
) -> Response:  # fmt: skip
    """Act, note it, and go back with `said`; what the act refuses is told as 409, with its own words.

    Without an `action` nothing is noted here: the act does it itself.
    """
    try:
        act()
    except (KeyError, ValueError, TypeError) as exc:
        return problem(409, str(exc.args[0]) if exc.args else str(exc))
    if action:
        note(request, reader, action, target, queue)
    return redirect(request, back, said)
