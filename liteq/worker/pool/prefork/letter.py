"""The letter to a child that is started afresh: where its app is, and with which settings it runs."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from liteq.clock import Clock
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.settings import Source
from liteq.utils.names import is_built_in
from liteq.utils.records import NamedTuple
from liteq.worker.hooks import Hooks
from liteq.worker.pool.base import Afresh, importing
from liteq.worker.pool.limits import Limits
from liteq.worker.pool.prefork.child import ChildSettings

__all__ = ["Letter", "place_of", "read_letter", "write_letter"]

logger = logging.getLogger("liteq.worker")

SHOWN = 5  # tasks that are named


class Script(NamedTuple):
    """The script of a program, which defines the app: a module's name, or a path."""

    name: str | None
    path: str | None


class Letter(NamedTuple):
    """All that a child is told. `worker`: the pid of that; `modules`: those in which there are tasks; `values`:
    settings, each as a pickle; `clock`: that of a server, which a child need not ask for it.
    """

    worker: int
    hostname: str
    limits: Limits
    max_tasks: int | None
    max_memory_kib: int | None
    coroutines: int | None
    start_method: str
    place: tuple[str, str] | None
    script: Script | None
    modules: tuple[str, ...]
    argv: list[str]
    values: Mapping[str, bytes]
    tasks: tuple[str, ...]
    clock: Clock | None
    find: Callable[[], App] | None
    set_up: Callable[[App], object] | None
    hooks: Callable[[App], Hooks] | None

    def settings(self, app: App, *, isolated: bool) -> ChildSettings:
        """The settings of a child of `app`."""
        hooks = None if self.hooks is None else self.hooks(app)
        return ChildSettings(
            self.hostname, hooks, self.limits, self.max_tasks, self.max_memory_kib, self.start_method,
            isolated=isolated, coroutines=self.coroutines,
        )  # fmt: skip

    def open_app(self, *, first: bool) -> App:
        """Import the app and its tasks, and give it the settings of the worker's. `first`: tell of unknown tasks."""
        with importing():
            if self.script is not None:
                from multiprocessing.spawn import prepare  # with what it imports: most apps have a module of their own

                kind = "init_main_from_name" if self.script.name else "init_main_from_path"
                prepare({kind: self.script.name or self.script.path, "sys_argv": self.argv})
            return self._open_app(first=first)

    def _open_app(self, *, first: bool) -> App:
        app = self._find()
        values = {name: pickle.loads(value) for name, value in self.values.items()}
        known = app.conf.changes()
        changed = {name: value for name, value in values.items() if name not in known or known[name] != value}
        app.conf.apply(changed, Source.COMMAND_LINE, "the worker")
        if self.clock is not None:
            app.clock = self.clock
        if self.set_up is not None:
            self.set_up(app)
        for module in self.modules:
            with suppress(ImportError):  # made by hand, perhaps: the tasks that are missing are named
                importlib.import_module(module)
        app.import_tasks()
        missing = [name for name in self.tasks if app.tasks.get(name) is None]
        if missing and first:
            names = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
            logger.warning(
                "a process that is started afresh (%s) does not know %s: define tasks where their module is imported, "
                "or use the start method fork", self.start_method, names,
            )  # fmt: skip
        return app

    def _find(self) -> App:
        if self.find is not None:
            return self.find()
        module, attribute = self.place or ("", "")
        __import__(module)
        app: App = getattr(sys.modules[module], attribute)
        return app


def write_letter(app: App, settings: ChildSettings, afresh: Afresh) -> bytes:
    """The letter to the children of a worker of `app`. Raises ImproperlyConfigured where they could not find it."""
    place = place_of(app) if afresh.find is None else None
    tasks = {name: type(task).__module__ for name, task in app.tasks.items() if not is_built_in(name)}
    modules = dict.fromkeys(tasks.values())
    in_script = (place is not None and place[0] == "__main__") or "__main__" in modules
    modules.pop("__main__", None)
    letter = Letter(
        os.getpid(), settings.hostname, settings.limits, settings.max_tasks, settings.max_memory_kib,
        settings.coroutines,
        settings.start_method, place, _script() if in_script else None, tuple(modules), list(sys.argv),
        dict(_values(app.conf.changes())), tuple(tasks),
        None if app.storage.driver.one_machine else app.clock,
        afresh.find, afresh.set_up, None if settings.hooks is None else settings.hooks.afresh(),
    )  # fmt: skip
    return pickle.dumps(letter)


def read_letter(fd: int) -> Letter:
    """The letter in a file that the parent has left open for this process."""
    letter: Letter = pickle.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    return letter


def place_of(app: App) -> tuple[str, str]:
    """A module and the attribute of it that `app` is. Raises ImproperlyConfigured where there is none."""
    for name in (app.main or "", "__main__", *sys.modules):
        module = sys.modules.get(name)
        if module is None or name.startswith("liteq."):
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                return name, attribute
    raise ImproperlyConfigured(
        f"no module has the app {app.main or '__main__'!r} as an attribute, and a process that is started afresh "
        "imports it by its name: make it at the top level of a module, or use the start method fork"
    )


def _script() -> Script | None:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    path = getattr(main, "__file__", None)
    if spec is None and path is None:
        raise ImproperlyConfigured(
            "the app is defined in an interactive session, which a process that is started afresh cannot import: "
            "define it in a module, or use the start method fork"
        )
    return Script(None if spec is None else spec.name, None if path is None else os.path.abspath(path))  # noqa: PTH100


def _values(changes: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """The settings that can be sent; what cannot, such as a lambda, is what the child's own import makes it."""
    found = []
    for name, value in changes.items():
        try:
            found.append((name, pickle.dumps(value)))
        except Exception:
            logger.debug("the setting %s cannot be sent to a process that is started afresh", name)
    return found
