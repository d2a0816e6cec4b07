"""An application factory, as Flask's guide has it; `web.micro` is the little of Flask that it takes."""

import os

from celery import Celery, Task

from web.micro import Flask


def create_app():
    app = Flask(__name__)
    app.config.update(
        GREETING="hello",
        CELERY={
            "broker_url": os.environ.get("CELERY_BROKER_URL", "redis://localhost"),
            "result_backend": "redis://localhost",
            "task_ignore_result": True,
            "task_track_started": True,
        },
    )
    celery_init_app(app)
    return app


def celery_init_app(app):
    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask, include=["web.tasks"])
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app
