"""Asking workers, and showing what they answer: what `inspect` and `control` share."""

from __future__ import annotations

from typing import Any

from liteq.app.control import flatten_reply
from liteq.cli.exits import Exit
from liteq.cli.output import emit, json_text, say
from liteq.cli.session import Session

__all__ = ["ask", "show_answers"]


def ask(
    session: Session, command: str, arguments: dict[str, Any], *, destination: str | None, timeout_s: float
) -> dict[str, Any]:
    """The workers' answers by name; those in `destination` (comma-separated) where it is given. {} when nobody did."""
    names = [name.strip() for name in destination.split(",")] if destination else None
    _ = session.storage  # refuses a file that is not there: asking does not make one
    reply = session.app.control.broadcast(command, arguments, names, reply=True, timeout=timeout_s)
    return flatten_reply(reply or [])


def show_answers(session: Session, answers: dict[str, Any]) -> int:
    """Write answers; the exit code: 69 when nobody answered, 1 when a worker could not do it."""

    def show() -> None:
        for name, answer in sorted(answers.items()):
            if isinstance(answer, dict) and len(answer) == 1 and next(iter(answer)) in {"ok", "error"}:
                [(kind, text)] = answer.items()
                say(f"{name}: {kind.upper()}\n  {text}")
            else:
                say(f"{name}:")
                _show_value(answer)
        if not answers:
            session.note("no worker answers within the timeout")

    emit(session, answers, show)
    if not answers:
        return Exit.UNAVAILABLE
    failed = any(isinstance(answer, dict) and "error" in answer for answer in answers.values())
    return Exit.FAILED if failed else Exit.OK


def _show_value(answer: Any) -> None:
    if isinstance(answer, dict):
        for key, value in answer.items():
            say(f"  {key:<14} {json_text(value) if isinstance(value, (dict, list)) else value}")
    elif isinstance(answer, list) and answer:
        for value in answer:
            say(f"  * {value if isinstance(value, str) else json_text(value)}")
    else:
        say("  - empty -")
