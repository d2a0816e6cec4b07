"""liteq for Flask.

    queue = LiteQ()

    def create_app() -> Flask:
        app = Flask(__name__)
        app.config["LITEQ"] = {"task_time_limit": 300}
        queue.init_app(app)
        return app

    @queue.task
    def thumbnail(path: str) -> str: ...

Each task runs in an application context; `flask liteq worker` runs them; `status_blueprint()` tells how it goes, and
`dashboard()` shows it.
"""

from __future__ import annotations

from liteq_flask.app import Celery, LiteQ
from liteq_flask.dashboard import dashboard
from liteq_flask.events import event_stream
from liteq_flask.status import status_blueprint

__all__ = ["Celery", "LiteQ", "dashboard", "event_stream", "status_blueprint"]
