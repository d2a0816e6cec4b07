"""The queue in Django's admin: tasks, dead letters, runs, approvals, schedules, workers.

The pages are over the storage's verbs and not over tables, so they work wherever the queue's file is. A ModelAdmin
gives them their place, their URLs and their permissions.
"""

from __future__ import annotations

from django.contrib import admin

from liteq_django.admin.messages import DeadLetterAdmin, TaskAdmin
from liteq_django.admin.runs import ApprovalAdmin, RunAdmin
from liteq_django.admin.schedules import ScheduleAdmin
from liteq_django.admin.workers import WorkerAdmin
from liteq_django.models import Approval, DeadLetter, Schedule, TaskMessage, Worker, WorkflowRun

__all__ = ["ApprovalAdmin", "DeadLetterAdmin", "RunAdmin", "ScheduleAdmin", "TaskAdmin", "WorkerAdmin"]

admin.site.register(TaskMessage, TaskAdmin)
admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(WorkflowRun, RunAdmin)
admin.site.register(Approval, ApprovalAdmin)
admin.site.register(Schedule, ScheduleAdmin)
admin.site.register(Worker, WorkerAdmin)
