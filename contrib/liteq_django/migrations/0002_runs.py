from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models

KEY = models.CharField("id", max_length=255, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    """Runs and approvals: models without a table, for their permissions and their place in the admin."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("liteq_django", "0001_initial")]

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            "WorkflowRun",
            [("id", KEY)],
            {
                "managed": False,
                "verbose_name": "run",
                "verbose_name_plural": "runs",
                "default_permissions": ("view",),
                "permissions": (
                    ("cancel_workflowrun", "Can cancel runs"),
                    ("pause_workflowrun", "Can pause and resume runs"),
                    ("retry_workflowrun", "Can retry failed runs"),
                ),
            },
        ),
        migrations.CreateModel(
            "Approval",
            [("id", KEY.clone())],
            {
                "managed": False,
                "verbose_name": "approval",
                "verbose_name_plural": "approvals",
                "default_permissions": ("view",),
                "permissions": (("decide_approval", "Can approve and reject"),),
            },
        ),
    ]
