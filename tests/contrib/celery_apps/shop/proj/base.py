"""The base class of all tasks of the shop."""

import celery

from proj.journal import note


class ShopTask(celery.Task):
    abstract = True

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", task=self.name, id=task_id, error=str(exc))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("after_return", task=self.name, status=status)
