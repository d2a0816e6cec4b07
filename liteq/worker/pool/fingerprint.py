"""The fingerprint of an app's code: a run that one version got stuck with is tried by another, once."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from liteq.context import App
from liteq.utils.names import is_built_in

__all__ = ["RELEASE", "fingerprint", "has_workflows", "is_a_workflow"]

RELEASE = "LITEQ_RELEASE"  # in the environment: the name of a deploy, which counts in place of its sources


def has_workflows(app: App) -> bool:
    """Whether a workflow is among the tasks of `app`."""
    return any(is_a_workflow(task) for task in app.tasks.values())


def is_a_workflow(task: Any) -> bool:
    """Whether a task of the registry is a workflow; costs nothing in a program that has none."""
    if "liteq.workflow" not in sys.modules:
        return False
    from liteq.workflow.activation import is_workflow

    return is_workflow(task)


def fingerprint(app: App) -> str:
    """The hash of the sources of all modules that define tasks, steps and workflows of `app`; or LITEQ_RELEASE.

    Two processes with the same code have the same, wherever it is installed.
    """
    if release := os.environ.get(RELEASE):
        return f"release {release}"
    known = _known.get(app)
    if known is None:
        known = _known[app] = _hash(_modules(app))
    return known


# Made once, before a worker forks: a deploy may put other files in the place of those that were imported.
_known: WeakKeyDictionary[App, str] = WeakKeyDictionary()


def _modules(app: App) -> set[str]:
    found = {task.__module__ for name, task in app.tasks.items() if not is_built_in(name)}
    return {name for name in found if name and not name.startswith("liteq.")}


def _hash(modules: set[str]) -> str:
    whole = sha256()
    for name in sorted(modules):
        path = getattr(sys.modules.get(name), "__file__", None)
        whole.update(name.encode())
        if path is not None:
            try:
                whole.update(Path(path).read_bytes())
            except OSError:  # inside an archive, or removed meanwhile
                whole.update(str(path).encode())
    return whole.hexdigest()[:32]
