"""The names that the shell completes beside commands and options: tasks, queues, workers, subjects of `inspect`.

`eval "$(_LITEQ_COMPLETE=bash_source liteq)"` switches it on; `zsh_source` and `fish_source` are the other shells'.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING

import click

from liteq.cli.parts.session import Session
from liteq.utils.names import is_built_in

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["completed"]

Names = Callable[[Session], Iterable[str]]


def _tasks(session: Session) -> Iterable[str]:
    session.app.import_tasks()
    return (name for name in session.app.tasks if not is_built_in(name))


def _queues(session: Session) -> Iterable[str]:
    found = {count.queue for count in session.storage.views.by_queue()}
    for worker in session.app.control.living():
        found.update(worker.facts.get("queues") or ())
    return found.union(session.app.default_queues())


def _nodes(session: Session) -> Iterable[str]:
    _ = session.storage  # a file that is not there is not made by this
    return (worker.name for worker in session.app.control.living())


def _subjects(_session: Session) -> Iterable[str]:
    from liteq.cli.parts.remote import commands_of
    from liteq.cli.watching.inspect import SUBJECTS

    return {*SUBJECTS, *commands_of("inspect")}


def _commands(_session: Session) -> Iterable[str]:
    from liteq.cli.parts.remote import commands_of

    return commands_of("control")


# By the parameter, where it has one name in all commands, else by the command and the parameter.
NAMES: dict[str, Names] = {
    "destination": _nodes, "exclude_queues": _queues, "queue": _queues, "queues": _queues, "task": _tasks,
    "call.name": _tasks, "queue_": _queues, "inspect.subject": _subjects, "control.command": _commands,
}  # fmt: skip


def completed(command: str | None, params: Iterable[click.Parameter]) -> None:
    """Have the shell complete those of `params`, of the command of that name, whose values can be known."""
    for param in params:
        names = NAMES.get(f"{command}.{param.name}") or NAMES.get(str(param.name))
        if names is not None:
            param.shell_complete = partial(_complete, names)  # type: ignore[method-assign]


def _complete(names: Names, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """The names that begin with what was typed; of a list, what stands behind its last comma. None where it fails."""
    before, comma, begun = incomplete.rpartition(",")
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # what an import prints is no name
            known = sorted(names(ctx.find_root().ensure_object(Session)))
    except (Exception, SystemExit):  # noqa: BLE001 - somebody is typing: an error is told when the command is run
        return []
    from click.shell_completion import CompletionItem  # only for a shell that asks

    return [CompletionItem(f"{before}{comma}{name}") for name in known if name.startswith(begun)]
