"""Alerts by a worker, where the setting `alert_to` names targets: each worker looks, and the file says which tells."""

from __future__ import annotations

from typing import Any

from liteq import signals
from liteq.alerts import Target, Watch
from liteq.context import App
from liteq.storage.storage import Storage

__all__ = ["AlertChore", "make"]

LAST_S = 1.0  # that a worker which ends waits for what it tells; another watch tells the rest


class AlertChore(Watch):
    """A watch as a chore of the worker's loop; it ends with the worker."""

    def __init__(self, app: App, targets: list[Target], storage: Storage) -> None:
        super().__init__(app, targets, storage=storage)
        self._file = storage
        signals.worker_shutdown.connect(self.ended)

    def ended(self, **_named: Any) -> None:
        """Leave no process of its own behind."""
        if self.tells:
            self.finish(LAST_S)
            self._file.close()  # the worker has closed it before


def make(app: App, storage: Storage) -> list[AlertChore]:
    """The chore, where the app's settings ask for one. Raises ImproperlyConfigured for a target that is none."""
    targets = [Target.of(str(address)) for address in app.conf.alert_to]
    return [AlertChore(app, targets, storage)] if targets else []
