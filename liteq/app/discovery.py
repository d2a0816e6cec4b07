"""Finding the user's tasks: the modules of `include` and `imports`, and `autodiscover_tasks`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["autodiscover", "ended_by_import"]


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


def ended_by_import(what: str, exc: SystemExit) -> str:
    """The error for `what`, a module's repr, where its import ends the program: with the line that does so."""
    frames = traceback.extract_tb(exc.__traceback__)
    where = f" in line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    return (
        f"importing {what} ended the program, with sys.exit({exc.code!r}){where}: every worker imports it; "
        "put that line under `if __name__ == '__main__':`"
    )
