"""The choices of the person who starts a server: rights, tasks and workflows that it starts, acts that ask nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import meant
from liteq.utils.names import is_built_in
from liteq_dashboard.access import RIGHTS, Viewer
from liteq_mcp.flows import flows

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["ASKED", "DEFAULT_RIGHTS", "Options", "is_reserved", "rights_of"]

DEFAULT_RIGHTS: Final = ("view", "payloads")
ASKED: Final = ("approve", "delete", "purge", "rewind", "send_task", "terminate")
"""The actions before which a person is asked, each of which `--unasked` may name."""


@dataclass(frozen=True, slots=True)
class Options:
    """`tasks`: globs of the tasks that have a tool of their own; `workflows`: of those that may be started (None: all
    that the right `workflows` allows). `unasked`: the actions before which no person is asked.

    Raises ImproperlyConfigured for an action that asks nobody, with the nearest one.
    """

    tasks: tuple[str, ...] = ()
    workflows: tuple[str, ...] | None = None
    unasked: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for action in sorted(self.unasked - set(ASKED)):
            hint = meant(action, ASKED, f"these ask: {', '.join(ASKED)}")
            raise ImproperlyConfigured(f"no person is asked before {action!r}{hint}")

    def own_tasks(self, app: LiteQ) -> dict[str, Any]:
        """The tasks with a tool of their own, by the tool's name. Raises ImproperlyConfigured for a glob of none."""
        known = {name: task for name, task in app.tasks.items() if not is_reserved(name) and not _is_workflow(task)}
        chosen = {name: known[name] for glob in self.tasks for name in _fitting(glob, known, "task")}
        lasts = [name.rpartition(".")[2] for name in chosen]
        return {f"run_{_short(name, lasts)}": task for name, task in chosen.items()}

    def own_workflows(self, app: LiteQ) -> dict[str, Any]:
        """Workflows, and files of flows as they are there now, that may be started, by name."""
        known = {name: task for name, task in app.tasks.items() if not is_reserved(name) and _is_workflow(task)}
        known = {**flows(app), **known}
        if self.workflows is None:
            return known
        return {name: known[name] for glob in self.workflows for name in _named(glob, known)}

    def check_workflows(self, app: LiteQ) -> None:
        """Raise ImproperlyConfigured for a glob of workflows that fits none."""
        known = replace(self, workflows=None).own_workflows(app)
        for glob in self.workflows or ():
            _fitting(glob, known, "workflow")

    def may_start(self, viewer: Viewer) -> bool:
        """Whether a viewer may start workflows: by right, or as the server was told which."""
        return self.workflows is not None or viewer.can("workflows")


def rights_of(text: str) -> tuple[str, ...]:
    """The rights of `--allow`: names of rights and roles, comma-separated; "all" of them."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return RIGHTS if "all" in names else names


def is_reserved(name: str) -> bool:
    """Whether this is a task of liteq's own, which no agent sends: that of flows would run the text it is given."""
    return is_built_in(name) or name.startswith("liteq.")


def _is_workflow(task: Any) -> bool:
    return bool(getattr(task, "is_workflow", False))


def _named(glob: str, known: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in known if fnmatchcase(name, glob))


def _fitting(glob: str, known: Mapping[str, Any], what: str) -> list[str]:
    found = _named(glob, known)
    if not found:
        hint = meant(glob, known, f"the app has {', '.join(sorted(known)[:20]) or 'none'}")
        raise ImproperlyConfigured(f"no {what} of the app fits {glob!r}{hint}")
    return found


def _short(name: str, lasts: Iterable[str]) -> str:
    """The last part of a name; the whole name where two have the same."""
    last = name.rpartition(".")[2]
    whole = last if list(lasts).count(last) == 1 else name.replace(".", "_")
    return "".join(one if one.isascii() and (one.isalnum() or one in "_-") else "_" for one in whole)[:100]
