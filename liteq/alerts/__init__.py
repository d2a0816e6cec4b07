"""Alerts without another server: what is wrong with a queue, told once when it begins and once when it is over.

`rules` finds what is wrong, `watch` compares it with what has been told (the file keeps that), `targets` are told:
a URL, a mail address, a command. A worker has its own watch by the setting `alert_to`; alone it is `liteq alert`.
"""

from __future__ import annotations

from liteq.alerts.rules import Alert, alerts
from liteq.alerts.targets import Target
from liteq.alerts.watch import Watch

__all__ = ["Alert", "Target", "Watch", "alerts"]
