"""The extension: an app of liteq's that takes its settings from a Flask app, and gives its tasks that app's context."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask, current_app, has_app_context

from liteq import app as core
from liteq import context
from liteq.context import Integration
from liteq.exceptions import ImproperlyConfigured
from liteq.middleware import Execution, Middleware
from liteq.storage import describe_url
from liteq_flask.command import command_of
from liteq_flask.config import default_url, settings_of
from liteq_flask.positions import carry_positions

__all__ = ["AppContext", "Celery", "FlaskIntegration", "LiteQ"]

logger = logging.getLogger("liteq.flask")

EXTENSION = "liteq"


class LiteQ(core.LiteQ):
    """`LiteQ(app)`, or `queue = LiteQ()` and later `queue.init_app(app)`.

    Settings come from `app.config["LITEQ"]` (and `["CELERY"]`). Without a `broker_url` the queue is the file `liteq.db`
    in the app's instance folder. Keywords are those of `liteq.LiteQ`; they outrank the configuration.
    """

    _flask_app: Flask | None = None

    def __init__(self, app: Flask | str | None = None, **options: Any) -> None:
        name = app.name if isinstance(app, Flask) else app
        super().__init__(options.pop("main", name), **options)
        self.integrations.add(FlaskIntegration(self))
        self.middleware.add(AppContext(self))
        self.add_defaults(self._defaults_of_the_app)
        if isinstance(app, Flask):
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Take the settings of `app`, run tasks in its context, and add the command `flask liteq`.

        Its answers carry positions for readers of a replica (positions.py).

        Called again with another app, as tests do that make one each, it is that one's from then on: settings and file
        are read anew. Raises ImproperlyConfigured for settings that are none, and when `app` has another queue.
        """
        if not isinstance(app, Flask):
            raise TypeError(f"init_app() takes a Flask app, not {app!r}")
        if app.extensions.get(EXTENSION, self) is not self:
            raise ImproperlyConfigured(f"the app {app.name!r} has another LiteQ: an app has one queue")
        settings = settings_of(app)
        self.start_over()
        self.config_from_object(settings)
        self.main = self.main or app.name
        self._flask_app = app
        if EXTENSION not in app.extensions:
            carry_positions(app, self)
        app.extensions[EXTENSION] = self
        app.cli.add_command(command_of(self))
        # @shared_task and AsyncResult(id) ask for the current app: that of the request, else the one made last.
        context.set_app_here(_queue_here)
        self.set_default()
        self.set_current()

    def _defaults_of_the_app(self) -> dict[str, Any]:
        return {} if self._flask_app is None else {"broker_url": default_url(self._flask_app)}

    @property
    def belongs_to_app(self) -> bool:
        """Whether `init_app` has been called."""
        return self._flask_app is not None

    @property
    def flask_app(self) -> Flask:
        """The app whose tasks these are. Raises ImproperlyConfigured before `init_app`."""
        if self._flask_app is None:
            raise ImproperlyConfigured("this queue belongs to no Flask app yet: call queue.init_app(app)")
        return self._flask_app

    @property
    def broker_url(self) -> str:
        """Where the queue lives. Raises ImproperlyConfigured before `init_app`, unless it was made with a `broker`."""
        if self._flask_app is None and not self.conf.broker_url:
            raise ImproperlyConfigured(
                "this queue belongs to no Flask app yet, and so has no file: call queue.init_app(app) first"
            )
        return super().broker_url


def _queue_here() -> LiteQ | None:
    """The queue of the Flask app whose context this is."""
    return current_app.extensions.get(EXTENSION) if has_app_context() else None


class AppContext(Middleware):
    """A fresh application context of the Flask app of `queue` around each execution, eager ones too.

    A step has that of its run. What a teardown function raises is logged, and fails no task.
    """

    def __init__(self, queue: LiteQ) -> None:
        self._queue = queue

    def on_execute(self, execution: Execution, run: Callable[[Execution], Any]) -> Any:
        if execution.kind == "step" and has_app_context():
            return run(execution)
        with _pushed(self._queue.flask_app):
            return run(execution)


@contextmanager
def _pushed(app: Flask) -> Iterator[None]:
    pushed = app.app_context()
    pushed.push()
    raised: BaseException | None = None
    try:
        yield
    except BaseException as exc:
        raised = exc
        raise
    finally:
        try:
            pushed.pop(raised)
        except Exception:
            logger.exception("a teardown function of %r raised; the task's outcome stands", app.name)


class FlaskIntegration(Integration):
    """The instance folder of the Flask app of `queue`."""

    def __init__(self, queue: LiteQ) -> None:
        self._queue = queue

    def open_storage(self, url: str, **options: Any) -> None:  # noqa: ARG002 - the hook's
        """Make the instance folder, where the queue is in it: its file may be the first thing there."""
        if self._queue.belongs_to_app:
            folder = Path(self._queue.flask_app.instance_path)
            if Path(describe_url(url).where).parent == folder:
                folder.mkdir(parents=True, exist_ok=True)


Celery = LiteQ
