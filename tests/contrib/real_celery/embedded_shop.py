"""A worker of the shop in a thread, as `celery.contrib.testing` has it: a task fails, and its errbacks are told."""

from __future__ import annotations

import celery.contrib.testing.tasks  # noqa: F401 - the worker asks for its task
from app_of_shop import app
from celery.contrib.testing.worker import start_worker

errbacks = [app.signature("shop.told", ("told",)), app.signature("shop.errback", task_id="old")]
with start_worker(app, perform_ping_check=False) as worker:
    print(*sorted(name for name in worker.consumer.strategies if name.startswith("liteq.")))
    app.send_task("shop.boom", ("x",), task_id="broken", link_error=errbacks)
    print(app.AsyncResult("old").get(timeout=60))
