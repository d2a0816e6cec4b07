"""Finding the user's tasks: the modules of `include` and `imports`, and `autodiscover_tasks`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from liteq.context import App, Integration
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.names import is_built_in

__all__ = ["autodiscover", "ended_by_import", "own_tasks", "require_tasks"]


def autodiscover(packages: Iterable[str] | Callable[[], Iterable[str] | None], related_name: str | None) -> list[Any]:
    """Import `package.related_name` of each package that has one; the modules. `packages` may be a function of none.

    An exception of such a module is let through. Raises ModuleNotFoundError for an unknown package.
    """
    names = packages() if callable(packages) else packages
    return [module for name in names or () if (module := _related(name, related_name)) is not None]


def _related(package: str, related_name: str | None) -> Any:
    if not _exists(package):  # `app.apps.Config` of INSTALLED_APPS: its package comes before it
        outer = package.rpartition(".")[0]
        if not outer:
            raise ModuleNotFoundError(f"autodiscover_tasks: there is no package {package!r}", name=package)
        return _related(outer, related_name)
    module = importlib.import_module(package)
    if not related_name:
        return module
    name = f"{package}.{related_name}"
    return importlib.import_module(name) if _exists(name) else None


def _exists(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError, AttributeError):
        return False


def own_tasks(app: App) -> list[str]:
    """The names of the tasks that `app` has besides those that every app has, whose names begin with `celery.`."""
    return [name for name in app.tasks if not is_built_in(name)]


def require_tasks(app: App, remedy: str) -> None:
    """Raises ImproperlyConfigured where a worker of `app` could run nothing, and would refuse each message.

    Not with the setting `worker_without_tasks`, nor where a framework knows tasks that no registry has. `remedy`: more
    that may help.
    """
    found_elsewhere = any(type(one).find_task is not Integration.find_task for one in app.integrations)
    if own_tasks(app) or found_elsewhere or app.conf.worker_without_tasks:
        return
    raise ImproperlyConfigured(
        f"the app {app.main or '__main__'!r} has no task of its own, so that this worker could run nothing: import the "
        "modules of its tasks, by LiteQ(..., include=['shop.tasks']), app.autodiscover_tasks(['shop']) or "
        f"-I shop.tasks{remedy}"
    )


def ended_by_import(what: str, exc: SystemExit) -> str:
    """The error for `what`, a module's repr, where its import ends the program: with the line that does so."""
    frames = traceback.extract_tb(exc.__traceback__)
    where = f" in line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    return (
        f"importing {what} ended the program, with sys.exit({exc.code!r}){where}: every worker imports it; "
        "put that line under `if __name__ == '__main__':`"
    )
