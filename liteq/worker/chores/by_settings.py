"""The chores that need little of a worker but its file, as the app's settings ask for them."""

from __future__ import annotations

from collections.abc import Callable

from liteq.context import App
from liteq.storage.storage import Storage
from liteq.worker.chores.pauses import PauseWatch
from liteq.worker.chores.recording import Recording
from liteq.worker.chores.sync import SyncChore
from liteq.worker.chores.together import Together
from liteq.worker.hooks import Chore
from liteq.worker.pool import Pool
from liteq.worker.pool.gathering import Gathering

__all__ = ["by_settings"]


def by_settings(app: App, storage: Storage, look: Callable[[], None], pool: Pool) -> list[Chore]:
    """The chores of a worker of `app` with `pool`; `look` makes its loop claim again. Raises ImproperlyConfigured."""
    conf = app.conf
    chores: list[Chore] = [
        PauseWatch(storage, look),
        Recording(storage, conf.release, conf.audit_expires, conf.history_expires, conf.events_expires),
    ]
    if conf.durability == "relaxed":
        chores.append(SyncChore(storage.driver))
    if isinstance(pool, Gathering):
        chores.append(Together(storage, pool))
    if conf.idle_vacuum:
        from liteq.worker.chores.idle_vacuum import IdleVacuum

        chores.append(IdleVacuum(storage.driver))
    if conf.alert_to:
        from liteq.worker.chores.alerts import make  # what it brings along is for those that ask for it

        chores += make(app, storage)
    return chores
