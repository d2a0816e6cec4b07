"""The Django app `liteq_django`."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["LiteqDjangoConfig"]


class LiteqDjangoConfig(AppConfig):
    """Connects a project with its queue."""

    name = "liteq_django"
    label = "liteq_django"
    verbose_name = "Task queue"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created
        from django.db.models.signals import post_migrate

        from liteq import context
        from liteq.app.integrations import announce_fixup
        from liteq_django import checks, fixup, project, sharing, waiting

        checks.register_all()
        announce_fixup("liteq_django.fixup:fixup")
        context.set_fallback_app(project.make_app)
        for app in context.active_apps():
            fixup.fixup(app)
        connection_created.connect(sharing.prepare_connection, dispatch_uid="liteq_django")
        connection_created.connect(waiting.note, dispatch_uid="liteq_django.waiting")
        post_migrate.connect(sharing.create_tables, sender=self, dispatch_uid="liteq_django")
