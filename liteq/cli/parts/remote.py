"""Asking workers, and showing what they answer, as Celery does: what `inspect`, `control` and `status` share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from liteq.app.control import flatten_reply
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import names, unknown
from liteq.cli.parts.output import age, counted, emit, json_text, say
from liteq.cli.parts.session import Session
from liteq.exceptions import ReadOnly
from liteq.storage.claiming.workers import WorkerRecord

__all__ = ["arguments_of", "ask", "commands_of", "list_commands", "show_answers"]

NOBODY = "No nodes replied within time constraint"


class _Busy(dict[str, str]):
    """Stands for the answer of a worker that lives, and cannot give one while it runs a task."""


def commands_of(type_: str) -> dict[str, Any]:
    """The commands of a type ("inspect" or "control") that are to be shown, by name."""
    from liteq.worker.control import META

    return {name: info for name, info in sorted(META.items()) if info.type == type_ and info.visible}


def list_commands(type_: str, more: Mapping[str, str]) -> None:
    """Write the commands of a type and `more`, a line each."""
    found = {f"{name} {info.signature or ''}".strip(): info.help for name, info in commands_of(type_).items()}
    for usage, text in sorted({**found, **more}.items()):
        click.echo(f"{usage:<52} {text}")


def arguments_of(type_: str, command: str, words: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a command as its words on the command line say. Raises UsageError where they do not fit."""
    info = commands_of(type_)[command]
    usage = f"usage: liteq {type_} {command} {info.signature or ''}".strip()
    found: dict[str, Any] = {}
    for (name, make), word in zip(info.args, words, strict=False):
        try:
            found[name] = word if make is None else make(word)
        except ValueError:
            raise click.UsageError(f"{word!r} does not fit {name}; {usage}") from None
    rest = words[len(info.args) :]
    if info.variadic:
        found[info.variadic] = list(rest)
    elif rest:
        raise click.UsageError(usage)
    if info.signature and info.signature.count("<") > len(found):  # what stands in <> is not optional
        raise click.UsageError(usage)
    return found


def ask(
    session: Session, command: str, arguments: dict[str, Any], *, destination: str | None, timeout_s: float
) -> dict[str, Any]:
    """The workers' answers by name; those in `destination` (comma-separated) where it is given. {} when nobody did.

    A worker of the solo pool that runs a task has {"busy": text} for its answer to `ping`; to other questions it has
    none, and a note says why.
    """
    driver = session.storage.driver  # refuses a file that is not there: asking does not make one
    if driver.read_only:  # a question is written; also where nobody lives who could answer
        raise ReadOnly(driver.where())
    asked, control = names(destination), session.app.control
    before = control.living(asked)
    answers = flatten_reply(control.broadcast(command, arguments, asked, reply=True, timeout=timeout_s) or [])
    busy = _busy(session, asked, before, answers)
    if command == "ping":  # that it lives is the answer
        answers |= {name: _Busy(busy=text) for name, text in busy.items()}
    else:
        for name, text in busy.items():
            session.note(f"{name}: {text}")
    if asked and not answers:
        _note_unknown_workers(session, asked)
    return answers


def _busy(
    session: Session, asked: list[str] | None, before: Sequence[WorkerRecord], answers: Mapping[str, Any]
) -> dict[str, str]:
    """A text, by name, about each worker that lives, and cannot answer while it runs a task.

    A task may end, or begin, while the answers are waited for: what they had `before` counts too.
    """
    held = {worker.id for worker in before if worker.leased}
    now_ms = session.app.clock.now_ms()
    return {
        worker.name: f"runs a task, and answers when it has ended; heartbeat {age(now_ms, worker.heartbeat_ms)}"
        for worker in session.app.control.living(asked)
        if worker.name not in answers
        and worker.facts.get("pool") == "solo"  # it executes where it would answer
        and (worker.leased or worker.id in held)
    }


def _note_unknown_workers(session: Session, asked: list[str]) -> None:
    control = session.app.control
    there = [worker.name for worker in control.living()]
    for name in asked:
        if there and not control.living(name):
            session.note(unknown("worker", name, there).message)


def show_answers(session: Session, answers: dict[str, Any], *, bodies: bool = True, count: bool = True) -> int:
    """Write answers; the exit code: 69 when nobody answered, 1 when a worker could not do it."""
    if not answers:
        file = session.storage.driver.where()
        alive = "" if session.app.control.living() else f": no worker is alive on {file}"
        click.echo(f"Error: {NOBODY}{alive}", err=True)
        return Exit.UNAVAILABLE

    def show() -> None:
        for name, answer in sorted(answers.items()):
            failed, busy = isinstance(answer, dict) and "error" in answer, isinstance(answer, _Busy)
            say(f"->  {name}: {'ERROR' if failed else 'BUSY' if busy else 'OK'}")
            if bodies or busy:
                say("\n".join(f"    {line}" for line in _text(answer).splitlines()))
        if count and not session.quiet:
            click.echo(f"\n{counted(len(answers), 'node')} online.")

    emit(session, answers, show)
    return Exit.FAILED if any(isinstance(one, dict) and "error" in one for one in answers.values()) else Exit.OK


def _text(answer: Any) -> str:
    if isinstance(answer, _Busy):
        return answer["busy"]
    if isinstance(answer, dict):
        for kind in ("ok", "error"):
            if kind in answer:
                return str(answer[kind])
        return json.dumps(answer, indent=4, sort_keys=True, default=str)
    if isinstance(answer, list):
        return "\n".join(f"* {one if isinstance(one, str) else json_text(one)}" for one in answer) or "- empty -"
    return str(answer)
