"""The Django app `liteq_django`."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig

__all__ = ["LiteqDjangoConfig"]


class LiteqDjangoConfig(AppConfig):
    """Connects a project with its queue."""

    name = "liteq_django"
    label = "liteq_django"
    verbose_name = "Task queue"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.core.signals import setting_changed
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
        setting_changed.connect(_settings_changed, dispatch_uid="liteq_django")


def _settings_changed(setting: str, **_named: Any) -> None:
    """`override_settings` in a test: the app's settings follow."""
    if setting != "LITEQ" and not setting.startswith("CELERY_"):
        return
    from liteq import context
    from liteq_django.fixup import DjangoIntegration

    for app in context.active_apps():
        if app.integrations.has(DjangoIntegration):
            app.reload_settings()
