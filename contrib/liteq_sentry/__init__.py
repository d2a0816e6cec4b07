"""Sentry's errors, spans and cron monitors of tasks and schedules.

    import sentry_sdk
    from liteq_sentry import LiteqIntegration

    sentry_sdk.init(dsn=..., traces_sample_rate=0.1, integrations=[LiteqIntegration(monitor_beat_tasks=True)])

In the module that senders and workers import. Needs the extra `sentry`.
"""

from __future__ import annotations

try:
    import sentry_sdk  # noqa: F401 - asked for, to say what is missing
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError("liteq_sentry needs sentry-sdk (the extra `sentry`): install it", name=exc.name) from exc

from liteq_sentry.integration import LiteqIntegration, watch

__all__ = ["LiteqIntegration", "watch"]
