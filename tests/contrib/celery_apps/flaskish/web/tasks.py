import time

from celery import shared_task
from celery.contrib.abortable import AbortableTask
from celery.utils.log import get_task_logger

from web.micro import current_app

logger = get_task_logger(__name__)


@shared_task(ignore_result=False)
def greet(name: str) -> str:
    return f"{current_app().config['GREETING']} {name}"


@shared_task()
def forget(name: str) -> str:
    return name


@shared_task(bind=True, ignore_result=False)
def process(self, total: int) -> dict:
    """Shows how far it is, and goes on when it was seen."""
    self.update_state(state="PROGRESS", meta={"current": 1, "total": total, "status": "halfway"})
    seen = self.app.signature("web.tasks.greet")  # the app is reachable from a task
    assert seen.task == "web.tasks.greet"
    while not _told(self, "go on"):
        time.sleep(0.01)
    return {"current": total, "total": total, "status": "done"}


def _told(task, state):
    meta = task.AsyncResult(task.request.id).info
    return isinstance(meta, dict) and meta.get("told") == state


@shared_task(bind=True, base=AbortableTask, ignore_result=False)
def export(self) -> str:
    while not self.is_aborted():
        time.sleep(0.01)
    return "aborted"


@shared_task(ignore_result=False)
def for_ever() -> None:
    while True:
        time.sleep(0.01)


@shared_task(ignore_result=False)
def divide(x: float, y: float) -> float:
    return x / y
