"""The outbox, a table; and what the admin shows, which are none: their rows are the queue's."""

from __future__ import annotations

from django.db import models

__all__ = ["Approval", "DeadLetter", "OutboxEntry", "Schedule", "TaskMessage", "Worker", "WorkflowRun"]


class OutboxEntry(models.Model):
    """Messages of one `delay()` inside a transaction, on their way to the queue."""

    created_at = models.DateTimeField(auto_now_add=True)
    batch = models.BinaryField()

    class Meta:
        verbose_name = "outbox entry"
        verbose_name_plural = "outbox entries"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"outbox entry {self.pk}"


class TaskMessage(models.Model):
    """A message of the queue. No table: see admin/."""

    id = models.CharField("id", max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "task"
        verbose_name_plural = "tasks"
        default_permissions = ("view",)
        permissions = (("revoke_taskmessage", "Can revoke tasks"),)


class DeadLetter(models.Model):
    """A message that failed for good. No table."""

    id = models.CharField("id", max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "dead letter"
        verbose_name_plural = "dead letters"
        default_permissions = ("view",)
        permissions = (("replay_deadletter", "Can replay dead letters"), ("drop_deadletter", "Can drop dead letters"))


class Schedule(models.Model):
    """An entry of beat. No table."""

    id = models.CharField("name", max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "schedule"
        verbose_name_plural = "schedules"
        default_permissions = ("add", "change", "delete", "view")
        permissions = (("run_schedule", "Can run schedules out of turn"),)


class WorkflowRun(models.Model):
    """A run of a workflow. No table."""

    id = models.CharField("id", max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "run"
        verbose_name_plural = "runs"
        default_permissions = ("view",)
        permissions = (
            ("cancel_workflowrun", "Can cancel runs"),
            ("pause_workflowrun", "Can pause and resume runs"),
            ("retry_workflowrun", "Can retry failed runs"),
        )


class Approval(models.Model):
    """A request of a run for a person's decision. No table."""

    id = models.CharField("id", max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "approval"
        verbose_name_plural = "approvals"
        default_permissions = ("view",)
        permissions = (("decide_approval", "Can approve and reject"),)


class Worker(models.Model):
    """A worker. No table."""

    id = models.CharField("name", max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "worker"
        verbose_name_plural = "workers"
        default_permissions = ("view",)
