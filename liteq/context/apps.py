"""The current app: one per thread, with one default for the process, as in Celery. And the apps that there are."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from liteq.context.app import App
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.proxy import Proxy

__all__ = [
    "active_apps",
    "announce_app",
    "announce_finalized",
    "connect_on_app_finalize",
    "current_app",
    "get_current_app",
    "set_app_here",
    "set_current_app",
    "set_default_app",
    "set_fallback_app",
    "swap_apps",
]


class _AppStack(threading.local):
    app: App | None = None


_thread = _AppStack()
_default_app: App | None = None
_fallback: Callable[[], App] | None = None
_here: Callable[[], App | None] | None = None
_apps: weakref.WeakSet[App] = weakref.WeakSet()
_on_finalize: list[Callable[[App], object]] = []


def set_default_app(app: App | None) -> None:
    """Make `app` what threads that set no app of their own see."""
    global _default_app
    _default_app = app


def set_current_app(app: App | None) -> None:
    """Make `app` the current one of this thread; of the process, while that has none."""
    _thread.app = app
    if _default_app is None:
        set_default_app(app)


def swap_apps(thread_s: App | None, process_s: App | None) -> tuple[App | None, App | None]:
    """Set the current app of this thread and of the process; those that were set, to be put back. For tests."""
    before = _thread.app, _default_app
    _thread.app = thread_s
    set_default_app(process_s)
    return before


def set_fallback_app(make: Callable[[], App]) -> None:
    """`make` builds the app of a process that uses `current_app` without ever making one."""
    global _fallback
    _fallback = make


def set_app_here(find: Callable[[], App | None]) -> None:
    """`find` returns the app of the code that runs now, such as that of a request; None where there is none."""
    global _here
    _here = find


def get_current_app() -> App:
    """The app of what runs here, else this thread's, else the process's. Raises ImproperlyConfigured: there is none."""
    app = (None if _here is None else _here()) or _thread.app or _default_app
    if app is None:
        if _fallback is None:
            raise ImproperlyConfigured(
                "there is no app: create one, `app = LiteQ('name', broker='sqlite:///tasks.db')`"
            )
        app = _fallback()
        set_default_app(app)
    return app


current_app: Any = Proxy(get_current_app, name="current_app")

# -- shared tasks: every app gets them, those made later too -----------------------------------------------------------


def announce_app(app: App) -> None:
    """A new app exists."""
    _apps.add(app)


def active_apps() -> list[App]:
    """The apps of this process that are still alive."""
    return list(_apps)


def connect_on_app_finalize(callback: Callable[[App], object]) -> Callable[[App], object]:
    """Call `callback(app)` whenever an app is finalized."""
    _on_finalize.append(callback)
    return callback


def announce_finalized(app: App) -> None:
    """`app` is being finalized: let the shared tasks register."""
    for callback in tuple(_on_finalize):
        callback(app)
