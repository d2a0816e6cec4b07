"""`liteq shell`: Python with the app, its tasks and the canvas at hand."""

from __future__ import annotations

import code
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.session import Session, pass_session
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.names import is_built_in

__all__ = ["names_in_shell", "shell"]

CANVAS = ("Signature", "chain", "chord", "chunks", "group", "signature", "subtask", "xmap", "xstarmap")


@click.command(cls=Command)
@click.option("-I", "--ipython", "wanted", flag_value="IPython", help="IPython, and no other.")
@click.option("-B", "--bpython", "wanted", flag_value="bpython", help="bpython, and no other.")
@click.option("--python", "wanted", flag_value="code", help="Python's own, and no other.")
@click.option("-T", "--without-tasks", is_flag=True, help="Leave out the short names of tasks.")
@click.option("--eventlet", is_flag=True, hidden=True)
@click.option("--gevent", is_flag=True, hidden=True)
@pass_session
def shell(session: Session, /, wanted: str | None, without_tasks: bool, eventlet: bool, gevent: bool) -> None:
    """Start Python with the app at hand: IPython or bpython where installed, else Python's own.

    There is `app` (also `celery`), each task under the last part of its name, `Task`, `AsyncResult`, `GroupResult`,
    and the canvas: chain, chord, chunks, group, signature, subtask, xmap, xstarmap.
    """
    if eventlet or gevent:
        raise click.UsageError("there is no eventlet or gevent here; `async def` tasks wait together")
    names = names_in_shell(session.app, with_tasks=not without_tasks)
    for name, start in SHELLS.items():
        if wanted == name or (wanted is None and importlib.util.find_spec(name) is not None):
            return start(names)
    return None


def names_in_shell(app: App, *, with_tasks: bool = True) -> dict[str, Any]:
    """The names at hand in the shell. A task is not, where one of the other names is its short one."""
    from liteq import canvas
    from liteq import result as results

    app.import_tasks()
    tasks = {name.rpartition(".")[2]: task for name, task in app.tasks.items() if not is_built_in(name)}
    return {
        **(tasks if with_tasks else {}),
        **{name: getattr(canvas, name) for name in CANVAS},
        "AsyncResult": results.AsyncResult,
        "GroupResult": results.GroupResult,
        "Task": app.Task,
        "app": app,
        "celery": app,
    }


def _ipython(names: dict[str, Any]) -> None:
    _import("IPython").start_ipython(argv=[], user_ns=names)


def _bpython(names: dict[str, Any]) -> None:
    _import("bpython").embed(names)


def _python(names: dict[str, Any]) -> None:
    try:
        import readline
        import rlcompleter
    except ImportError:  # Windows, and Pythons built without it
        pass
    else:
        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    banner = f"Python {sys.version.split()[0]}; at hand: {', '.join(sorted(names, key=str.lower))}"
    code.interact(banner, local=names, exitmsg="")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImproperlyConfigured(f"{name} is not installed; without -I and -B there is Python's own shell") from None


# In the order in which they are tried.
SHELLS: dict[str, Callable[[dict[str, Any]], None]] = {"IPython": _ipython, "bpython": _bpython, "code": _python}
