from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


def _virtual(name: str, verbose: str, plural: str, *, key: str = "id", **options: Any) -> migrations.CreateModel:
    """A model without a table: for its permissions, and its place in the admin."""
    fields = [("id", models.CharField(key, max_length=255, primary_key=True, serialize=False))]
    return migrations.CreateModel(
        name, fields, {"managed": False, "verbose_name": verbose, "verbose_name_plural": plural, **options}
    )


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            "OutboxEntry",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("batch", models.BinaryField()),
            ],
            {
                "verbose_name": "outbox entry",
                "verbose_name_plural": "outbox entries",
                "default_permissions": ("view",),
            },
        ),
        _virtual(
            "TaskMessage",
            "task",
            "tasks",
            default_permissions=("view",),
            permissions=(("revoke_taskmessage", "Can revoke tasks"),),
        ),
        _virtual(
            "DeadLetter",
            "dead letter",
            "dead letters",
            default_permissions=("view",),
            permissions=(
                ("replay_deadletter", "Can replay dead letters"),
                ("drop_deadletter", "Can drop dead letters"),
            ),
        ),
        _virtual(
            "Schedule",
            "schedule",
            "schedules",
            key="name",
            default_permissions=("add", "change", "delete", "view"),
            permissions=(("run_schedule", "Can run schedules out of turn"),),
        ),
        _virtual("Worker", "worker", "workers", key="name", default_permissions=("view",)),
    ]
