"""The fingerprint of an app's code: a run that was stuck in one is tried by another one."""

from __future__ import annotations

import inspect
import sys
from hashlib import blake2b
from pathlib import Path
from weakref import WeakKeyDictionary

from liteq.context import App

__all__ = ["fingerprint_of"]

_known: WeakKeyDictionary[App, str] = WeakKeyDictionary()


def fingerprint_of(app: App) -> str:
    """A hash of the sources of the modules with tasks, steps and workflows; the setting `release` where that is set."""
    found = _known.get(app)
    if found is None:
        found = _known[app] = app.conf.release or _of_sources(app)
    return found


def _of_sources(app: App) -> str:
    functions = [getattr(task, "__wrapped__", type(task)) for task in app.tasks.values()]
    functions += [step.function for step in app.steps_of_workflows.values()]
    modules = {getattr(inspect.unwrap(function), "__module__", None) for function in functions}
    digest = blake2b(digest_size=12)
    for name in sorted(name for name in modules if name and not name.startswith("liteq.")):
        file = getattr(sys.modules.get(name), "__file__", None)
        digest.update(name.encode())
        if file is not None:
            try:
                digest.update(Path(file).read_bytes())
            except OSError:
                continue
    return digest.hexdigest()
