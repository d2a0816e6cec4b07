"""`module:name` of `task:`, `workflow:` and `agent:`: loaded where that gives a flow no more than its worker allows.

Whoever can write into the queue can start a flow. So a worker without --commands, which runs no command of a flow,
calls no function of any library for it either: only what belongs to its own app.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.settings import import_object
from liteq_flow.jobs.job import NAME
from liteq_flow.running.run import StepFailed

__all__ = ["loaded"]


def loaded(app: App, name: str) -> Any:
    """The object `module:name`. Raises StepFailed where there is none, or where it is not this worker's to load."""
    module, _, attribute = name.partition(":")
    if NAME in app.steps_of_workflows:  # with --commands: it may run anything
        return _imported(name)
    own = sorted(set(_packages(app)))
    if _package(module) not in own or not attribute.isidentifier():
        raise _foreign(name, own)
    found = _imported(name)
    if inspect.ismodule(found):
        raise _foreign(name, own)
    if (inspect.isroutine(found) or inspect.isclass(found)) and _package(found.__module__ or "") not in own:
        raise _foreign(name, own)
    return found


def _imported(name: str) -> Any:
    try:
        return import_object(name)
    except (ImportError, ImproperlyConfigured) as exc:
        raise StepFailed(f"{name!r} cannot be loaded: {str(exc).removesuffix(' to read settings from')}") from exc


def _foreign(name: str, own: list[str]) -> StepFailed:
    return StepFailed(
        f"{name!r} is not this app's: a worker without --commands loads objects of its app alone "
        f"({', '.join(own) or 'it has none'}); define it there, or have a worker with --commands run the flow"
    )


def _package(module: str) -> str:
    return module.partition(".")[0]


def _has(module: Any, app: App) -> bool:
    """Whether the app stands in a module."""
    return any(one is app for one in list(getattr(module, "__dict__", {}).values()))


def _packages(app: App) -> Iterator[str]:
    """The packages, and the modules without one, in which the app and what it has are declared."""
    modules = {getattr(getattr(one, "run", one), "__module__", None) for one in app.tasks.values()}
    modules |= {
        getattr(getattr(one, "__wrapped__", one), "__module__", None) for one in app.steps_of_workflows.values()
    }
    modules |= {name for name, one in list(sys.modules.items()) if _has(one, app)}
    for module in modules:
        package = _package(str(module or ""))
        if package and package not in {"liteq", "celery"} and not package.startswith("liteq_"):
            yield package
