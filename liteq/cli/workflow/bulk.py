"""The commands that take runs by id or by what they are: cancel, terminate, pause, resume, retry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.asking import SURE, acting, confirm
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import counted, emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.workflow.choosing import Choice, choosing, chosen, found, matching
from liteq.exceptions import MessageNotFound, NotEligible
from liteq.monitor.runs.runs import ENDED, STATUSES
from liteq.operating import act

__all__ = ["BULK"]

UNFINISHED = frozenset(STATUSES) - ENDED


@dataclass(frozen=True)
class Verb:
    """Something that can be done to runs. `among`: the statuses in which a run can be told.

    `act(session, ids)`: the ids to which it was done, and by id why it was not.
    """

    name: str
    done: str
    among: Collection[str]
    act: Callable[[Session, Sequence[str]], tuple[list[str], dict[str, str]]]


def _each(action: str) -> Callable[[Session, Sequence[str]], tuple[list[str], dict[str, str]]]:
    """Do `action` to each run, noted in the audit."""

    def each(session: Session, ids: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        done: list[str] = []
        refused: dict[str, str] = {}
        by = session.actor()
        for id_ in ids:
            try:
                act(session.app, action, id_, by=by)
            except (NotEligible, MessageNotFound) as exc:
                refused[id_] = getattr(exc, "why", str(exc))
            else:
                done.append(id_)
        return done, refused

    return each


CANCEL = Verb("cancel", "asked to end", UNFINISHED, _each("cancel"))
TERMINATE = Verb("terminate", "terminated", UNFINISHED, _each("terminate"))
PAUSE = Verb("pause", "paused", UNFINISHED - {"paused"}, _each("pause"))
RESUME = Verb("resume", "resumed", {"paused", "stuck"}, _each("resume"))
RETRY = Verb("retry", "retried", {"failed"}, _each("requeue"))


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = acting(SURE(command))
    return click.argument("ids", nargs=-1, metavar="[ID]...")(choosing(command))


def _do(session: Session, verb: Verb, ids: Sequence[str], options: dict[str, Any]) -> int:
    """Do `verb` to the runs that are named or chosen, a page at a time; tell of it."""
    sure = options.pop("sure")
    choice = chosen(session, **options)
    if bool(ids) == choice.is_given:
        both = "give IDs, or --name, --status, --tag or --since, not both"
        raise click.UsageError(both if ids else f"no run is chosen; {both}")
    done: list[str] = []
    refused: dict[str, str] = {}
    if ids:
        named = [found(session, id_) for id_ in dict.fromkeys(ids)]  # all or none, where one is misspelt
        refused = {run.id: f"it is {run.status}" for run in named if run.status not in verb.among}
        pages = [[run.id for run in named if run.status in verb.among]]
    else:
        pages = _asked(session, verb, choice, sure=sure)
    for page in pages:
        changed, why = verb.act(session, page)
        done += changed
        refused |= why
    documents = [{"id": id_, "done": True, "why": None} for id_ in done]
    documents += [{"id": id_, "done": False, "why": why} for id_, why in refused.items()]

    def write() -> None:
        say(f"{counted(len(done), 'run')} {verb.done}.")
        for id_, why in refused.items():
            say(f"{id_}: {why}")

    emit(session, documents, write)
    return Exit.FAILED if ids and refused else Exit.OK


def _asked(session: Session, verb: Verb, choice: Choice, *, sure: bool) -> list[list[str]]:
    """The ids of the chosen runs to which `verb` can be done, in pages, once the user has said yes."""
    pages = [[run.id for run in page] for page in matching(session, choice, among=verb.among)]
    n = sum(map(len, pages))
    if n:
        what = f"{verb.name} {counted(n, 'run')} {choice}"
        confirm(f"{what[0].upper()}{what[1:]}?", f"this is to {what}", sure=sure, option="--yes")
    return pages


@click.command("cancel", cls=Command)
@_options
@pass_session
def cancel(session: Session, /, ids: tuple[str, ...], **options: Any) -> int:
    """Cancel runs: their sagas and shields run, then they end as `cancelled`. A run that has not begun ends at once.

    Give IDs, or choose runs by --name, --status, --tag, --since. For chosen runs the command asks first.

    \b
    JSON: [{"id", "done", "why"}]
    """
    return _do(session, CANCEL, ids, options)


@click.command("terminate", cls=Command)
@_options
@pass_session
def terminate(session: Session, /, ids: tuple[str, ...], **options: Any) -> int:
    """End runs at once, without their sagas. A process that executes a step of theirs is killed.

    Give IDs, or choose runs by --name, --status, --tag, --since. For chosen runs the command asks first.

    \b
    JSON: [{"id", "done", "why"}]
    """
    return _do(session, TERMINATE, ids, options)


@click.command("pause", cls=Command)
@_options
@pass_session
def pause(session: Session, /, ids: tuple[str, ...], **options: Any) -> int:
    """Pause runs: each stops after its step in progress, and goes on after `resume`.

    Give IDs, or choose runs by --name, --status, --tag, --since. For chosen runs the command asks first.

    \b
    JSON: [{"id", "done", "why"}]
    """
    return _do(session, PAUSE, ids, options)


@click.command("resume", cls=Command)
@_options
@pass_session
def resume(session: Session, /, ids: tuple[str, ...], **options: Any) -> int:
    """Let paused runs go on, and try stuck runs once more, for example after a deploy.

    Give IDs, or choose runs by --name, --status, --tag, --since. For chosen runs the command asks first.

    \b
    JSON: [{"id", "done", "why"}]
    """
    return _do(session, RESUME, ids, options)


@click.command("retry", cls=Command)
@_options
@pass_session
def retry(session: Session, /, ids: tuple[str, ...], **options: Any) -> int:
    """Let failed runs go on at the step that failed. Refused for runs that were compensated.

    Give IDs, or choose runs by --name, --status, --tag, --since. For chosen runs the command asks first.

    \b
    JSON: [{"id", "done", "why"}]
    """
    return _do(session, RETRY, ids, options)


BULK = (cancel, terminate, pause, resume, retry)
