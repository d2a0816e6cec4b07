"""`celery.utils.imports` and `kombu.utils.imports`: objects by their paths."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liteq.app.definitions import generate_name
from liteq.context import App

__all__ = ["gen_task_name", "import_from_cwd", "instantiate", "qualname", "symbol_by_name"]

MISSING = object()


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, Any] | None = None,
    imp: Any = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = MISSING,
) -> Any:
    """The object at the path `module.attribute` or `module:attribute`; an object that is no text is returned as it is.

    Raises ImportError or AttributeError where there is none, unless `default` is given.
    """
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name) or name
    if not isinstance(name, str):
        return name
    module, _, attribute = name.rpartition(":" if ":" in name else sep)
    try:
        found = (imp or importlib.import_module)(module or attribute, **({"package": package} if package else {}))
        return getattr(found, attribute) if module else found
    except (ImportError, AttributeError):
        if default is MISSING:
            raise
        return default


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An instance of the class at the path `name`."""
    return symbol_by_name(name)(*args, **kwargs)


def qualname(obj: Any) -> str:
    """The path of a class or a function, or of an object's class."""
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    return f"{named.__module__}.{named.__qualname__}"


def import_from_cwd(module: str, imp: Any = None, package: str | None = None) -> Any:
    """The module, which may be in the working directory."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return (imp or importlib.import_module)(module, package=package)


def gen_task_name(app: App, name: str, module_name: str) -> str:
    """The name of a task that was given none; an app's own `gen_task_name` may call this."""
    return generate_name(app.main, name, module_name)
