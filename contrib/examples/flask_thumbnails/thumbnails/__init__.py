"""Pictures are uploaded, thumbnails are made of them in the background, and the page shows how far that is."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask

from liteq_flask import status_blueprint
from thumbnails.queue import queue
from thumbnails.views import pages

__all__ = ["create_app"]


def create_app() -> Flask:
    """The app. THUMBNAILS_DATA names the folder of its pictures and its queue; else it is Flask's instance folder."""
    data = os.environ.get("THUMBNAILS_DATA")
    app = Flask(__name__, instance_path=str(Path(data).absolute()) if data else None)
    app.config.from_mapping(
        MAX_CONTENT_LENGTH=64 * 1024 * 1024,
        PAUSE_S=0.3,  # before each size, so that one can see it happen
        LITEQ_STATUS_LOCAL=True,  # no proxy stands before this program; behind one, set LITEQ_STATUS_TOKEN instead
        LITEQ={"broker_url": "sqlite:///queue.db", "task_time_limit": 60},
    )
    app.config.from_prefixed_env("THUMBNAILS")
    for name in ("uploads", "thumbnails"):
        (Path(app.instance_path) / name).mkdir(parents=True, exist_ok=True)
    queue.init_app(app)
    app.register_blueprint(pages)
    app.register_blueprint(status_blueprint(), url_prefix="/liteq")
    return app
