"""The integrations of an app: its own class attributes, and the frameworks that are in use.

A framework is known by an environment variable, as Celery knows Django, and is then given each app of the process by a
function, a fixup, that is named `module:function`. One that is set up otherwise announces itself.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from liteq.context import App, Around, Integration, RunCoroutine
from liteq.middleware import Middlewares
from liteq.settings import import_object
from liteq.utils.upward import DJANGO_FIXUP

if TYPE_CHECKING:
    from concurrent.futures import Future

    from liteq.storage.storage import Storage

__all__ = ["ClassHooks", "announce_fixup", "apply_fixups"]

BY_VARIABLE = {"DJANGO_SETTINGS_MODULE": DJANGO_FIXUP}
_announced: list[str] = []


class Hooks:
    """Hooks that a subclass of `LiteQ` may define. A framework adds an `Integration`: `app.integrations.add(...)`."""

    framework_settings: Callable[[Any], Mapping[str, Any]] | None = None
    """Settings of a web framework for this app, a function of it: above its configuration object, below its code."""
    storage_opener: Callable[..., Storage] | None = None
    """Opens the queue in place of `liteq.storage.storage.open_storage`."""
    async_submit: Callable[[Callable[[], Any], bool], Future[Any] | None] | None = None
    """Runs the calls that async code waits for: `async_submit(call, writes)`, a future of it.

    Without it, and where it returns None, one of liteq's own threads does (`utils/async_threads.py`).
    """
    coroutine_runner: RunCoroutine | None = None
    """Runs an `async def` task to its end, in place of `utils.coroutines.run_coroutine`."""
    around_task: Around | None = None
    """A context manager around each execution of a task, its hooks and signals included: `around_task(task, request)`.

    A framework's application context, say. It is left with the task's exception, as if that had gone through it, and
    cannot change the outcome. When it cannot be entered, the task fails.
    """

    @cached_property
    def middleware(self) -> Middlewares:
        """Code around each call that is sent and each execution: `app.middleware.add(...)`, the first is outermost."""
        return Middlewares(changed=self._settings_changed)

    def _settings_changed(self) -> None:
        """Forget what was derived from settings and hooks."""


class ClassHooks(Integration):
    """The hooks of an app's class as an integration."""

    def __init__(self, app: App) -> None:
        self._app = app

    def settings(self, *, is_bare: bool) -> Mapping[str, Any]:
        hook = self._app.framework_settings
        return {} if hook is None else hook(self._app)

    def open_storage(self, url: str, **options: Any) -> Storage | None:
        hook = self._app.storage_opener
        return None if hook is None else hook(url, **options)

    def submit(self, call: Callable[[], Any], *, writes: bool) -> Future[Any] | None:
        hook = self._app.async_submit
        return None if hook is None else hook(call, writes)

    def coroutine_runner(self) -> RunCoroutine | None:
        return self._app.coroutine_runner

    def around_task(self) -> Around | None:
        return self._app.around_task


def announce_fixup(path: str) -> None:
    """Apply the fixup at `path` to every app that is made from now on."""
    if path not in _announced:
        _announced.append(path)


def apply_fixups(app: App, fixups: Iterable[Any] | None = None) -> None:
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
