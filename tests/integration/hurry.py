"""Other waits of a worker, in its own process. The modules of tasks ask for them when they are imported there."""

from __future__ import annotations

import os
import sys
from importlib import import_module

__all__ = ["hurry"]


def hurry() -> None:
    """Set the constants that `WORKER_TEST_HURRY` lists, as "module:NAME=seconds module:NAME=seconds".

    Modules that took one by name have the new value too; one that is imported later finds it in the constant's home.
    """
    for word in os.environ.get("WORKER_TEST_HURRY", "").split():
        home, _, setting = word.partition(":")
        name, _, value = setting.partition("=")
        old = getattr(import_module(home), name)
        for module in list(sys.modules.values()):
            if module.__name__.startswith("liteq.") and getattr(module, name, None) is old:
                setattr(module, name, type(old)(value))
