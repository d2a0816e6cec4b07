"""The shop's Celery app, laid out as Celery's guide for Django has it."""

import os

from celery import Celery
from celery.signals import after_setup_logger, before_task_publish, task_failure, worker_process_init, worker_ready

from proj.journal import note

os.environ.setdefault("SHOP_SETTINGS_MODULE", "proj.settings")

app = Celery("shop", task_cls="proj.base:ShopTask")
app.config_from_object("proj.settings", namespace="CELERY")
app.autodiscover_tasks(["orders", "mail"])


@app.on_after_configure.connect
def setup_periodic_tasks(sender, **kwargs):
    sender.add_periodic_task(0.3, sender.signature("mail.tasks.flush_outbox", args=("added",)), name="flush the outbox")


@app.task(bind=True, ignore_result=True)
def debug_task(self):
    print(f"Request: {self.request!r}")


@worker_process_init.connect
def open_connections(**kwargs):
    note("process_init", pid=os.getpid())


@worker_ready.connect
def say_ready(sender, **kwargs):
    note("worker_ready")


@after_setup_logger.connect
def quieten(logger, **kwargs):
    note("logging", level=logger.level)


@task_failure.connect
def report_failure(sender=None, task_id=None, exception=None, einfo=None, **kwargs):
    note("task_failure", task=sender.name, id=task_id, error=repr(exception), traced="Traceback" in str(einfo))


@before_task_publish.connect
def add_request_id(sender=None, headers=None, **kwargs):
    headers.setdefault("request_id", os.environ.get("SHOP_REQUEST_ID", "none"))
