"""The backend, in the shape in which Django's own tests look at theirs: for test_django_own_tests.py.

`Collecting` stands for Django's dummy backend, which keeps its results in a list; `Running` for the immediate one,
which runs a task before `enqueue` returns.
"""

from __future__ import annotations

from liteq_django import TasksBackend, drain
from liteq_django.attempts import result_of
from liteq_django.project import default_app


class Collecting(TasksBackend):
    cleared = 0

    @property
    def results(self):
        storage = default_app().storage
        new = [line for line in storage.views.page("all", limit=1_000) if line.seq > Collecting.cleared]
        return [result_of(storage.reader.find(line.id)) for line in reversed(new)]

    def clear(self):
        Collecting.cleared = max((line.seq for line in default_app().storage.views.page("all", limit=1)), default=0)


class Running(TasksBackend):
    def enqueue(self, task, args, kwargs):
        result = super().enqueue(task, args, kwargs)
        drain()
        result.refresh()
        return result
