"""The start of children, by the method that is chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import meant
from liteq.worker.pool.base import Afresh
from liteq.worker.pool.prefork.child import ChildSettings
from liteq.worker.pool.prefork.forking import fork_child
from liteq.worker.pool.prefork.handle import Handle

__all__ = ["Starter", "make_starter"]

METHODS = ("fork", "forkserver", "spawn")


class Starter:
    """Forks children: they have all that the worker has imported, in memory that they share.

    `handle` is the class of the handles on them.
    """

    handle: type[Handle] = Handle

    def __init__(self, app: App, settings: ChildSettings) -> None:
        self._app = app
        self._settings = settings

    def start(self, siblings: Iterable[Handle], *, number: int, isolated: bool, let_go: Callable[[], None]) -> Handle:
        """Start a child; the handle on it. `number` is never used again, also in its name.

        `isolated`: it is to end after one task. `let_go` closes, in a forked child, descriptors of the parent. Raises
        OSError when the system has no process, memory or descriptor left.
        """
        settings = replace(self._settings, isolated=True) if isolated else self._settings
        child = fork_child(self._app, settings, siblings, number=number, let_go=let_go, make=self.handle)
        child.isolated = isolated
        return child

    def close(self) -> None:
        """Give back what it keeps for further children."""


class AfreshStarter(Starter):
    """Starts children that import the app themselves: each in a new interpreter, or by way of a fork server."""

    def __init__(self, app: App, settings: ChildSettings) -> None:
        from liteq.worker.pool.prefork.letter import write_letter
        from liteq.worker.pool.prefork.memory import shared_file

        super().__init__(app, settings)
        self._letter = shared_file("liteq-letter", write_letter(app, settings, settings.afresh or Afresh()))
        self._server = None
        if settings.start_method == "forkserver":
            from liteq.worker.pool.prefork.server import ForkServer

            self._server = ForkServer(self._letter, settings.hostname)

    def start(self, siblings: Iterable[Handle], *, number: int, isolated: bool, let_go: Callable[[], None]) -> Handle:
        from liteq.worker.pool.prefork.afresh import spawn_child

        if self._server is not None:
            child = self._server.start_child(number=number, isolated=isolated, make=self.handle)
        else:
            child = spawn_child(self._letter, number=number, isolated=isolated, make=self.handle)
        child.isolated = isolated
        child.await_ready()
        return child

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._letter >= 0:
            os.close(self._letter)
            self._letter = -1


def make_starter(app: App, settings: ChildSettings) -> Starter:
    """The starter of the method in `settings`.

    Raises ImproperlyConfigured for an unknown one, and where children could not find their app.
    """
    if settings.start_method not in METHODS:
        method = settings.start_method
        raise ImproperlyConfigured(
            f"unknown start method {method!r} of the prefork pool: use fork, forkserver or spawn"
            f"{meant(method, METHODS)}"
        )
    return Starter(app, settings) if settings.start_method == "fork" else AfreshStarter(app, settings)
