"""`app.loader`, for code that asks Celery's loader to import the modules of tasks."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from liteq.app.discovery import autodiscover
from liteq.context import App

__all__ = ["Loader"]


class Loader:
    """Imports modules of tasks, by the settings of `app`. There is one kind: liteq has no loaders of one's own."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.task_modules: set[str] = set()
        """Names of the modules that were imported by `import_task_module`."""

    @property
    def conf(self) -> Any:
        """The app's settings."""
        return self.app.conf

    @property
    def default_modules(self) -> list[str]:
        """The modules that a worker imports: the settings `include` and `imports`."""
        return [str(name) for name in (*self.conf.include, *self.conf.imports)]

    def import_default_modules(self) -> list[ModuleType]:
        """Import the modules of tasks as a worker does, those of `autodiscover_tasks` too; those of the settings.

        An exception of such a module is let through.
        """
        self.app.import_tasks()
        return [self.import_task_module(name) for name in self.default_modules]

    init_worker = import_default_modules

    def import_task_module(self, module: str) -> ModuleType:
        """Import `module`, and note its name in `task_modules`."""
        self.task_modules.add(module)
        return self.import_module(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        """Import `module`. Raises ImportError."""
        return importlib.import_module(module, package=package)

    import_from_cwd = import_module

    def autodiscover_tasks(self, packages: Any, related_name: str | None = "tasks") -> None:
        """Import the module `related_name` of each of `packages` that has one, at once."""
        autodiscover(packages, related_name)

    def now(self, utc: bool = True) -> datetime:
        """The time: aware and in UTC, else naive and that of this machine."""
        now: datetime = self.app.now()
        return now.astimezone(UTC) if utc else now.astimezone().replace(tzinfo=None)
