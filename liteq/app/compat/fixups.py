"""What a framework adds to each app of its process: a function of the app, named `module:function`.

A framework is known by an environment variable, as Celery knows Django; one that is set up otherwise announces itself.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from typing import Any

from liteq.settings import import_object

__all__ = ["announce_fixup", "apply_fixups"]

BY_VARIABLE = {"DJANGO_SETTINGS_MODULE": "liteq_django.fixup:fixup"}
_announced: list[str] = []


def announce_fixup(path: str) -> None:
    """Apply the fixup at `path` to every app that is made from now on."""
    if path not in _announced:
        _announced.append(path)


def apply_fixups(app: Any, fixups: Iterable[Any] | None = None) -> None:
    """Call `fixups`, functions or their paths, with `app`; without any, those of the frameworks that are in use."""
    for fixup in _in_use() if fixups is None else fixups:
        (import_object(fixup) if isinstance(fixup, str) else fixup)(app)


def _in_use() -> list[str]:
    named = [path for variable, path in BY_VARIABLE.items() if os.environ.get(variable)]
    # The packages of contrib/ may be left out of an installation.
    return [
        path
        for path in dict.fromkeys([*named, *_announced])
        if importlib.util.find_spec(path.partition(":")[0].partition(".")[0])
    ]
