"""Which workers live, as far as the file and this machine's kernel tell: one answer for every reader."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from liteq.context.app import App
from liteq.context.identity import Presence, is_dead, presence
from liteq.utils.globs import fits
from liteq.utils.names import is_built_in
from liteq.utils.text import as_command

if TYPE_CHECKING:
    from liteq.storage.claiming.workers import WorkerRecord
    from liteq.storage.storage import Storage

__all__ = [
    "LATE_MS",
    "RESTS",
    "as_of_ms",
    "knowing",
    "knows",
    "late_after_ms",
    "late_ms",
    "living",
    "living_in",
    "none_knows",
    "takes_from",
    "untaken",
]

RESTS = "rests"  # in a worker's facts: it beats only while there is work in the file, and serves others meanwhile
LATE_MS = 30_000  # a worker beats at least each 10 s; three missed beats are no accident


def late_ms(app: App) -> int:
    """The age in ms from which a heartbeat means that its worker has stopped."""
    return late_after_ms(app.conf.visibility_timeout)


def late_after_ms(visibility_s: float) -> int:
    """As `late_ms`, of a queue whose leases last so long."""
    return max(LATE_MS, int(visibility_s * 1000))


def as_of_ms(app: App) -> int:
    """The time of what the file of `app` shows, in ms: now; of a copy or a replica, when it was written."""
    return int(app.clock.now_ms() - 1000 * (app.storage.driver.age_s() or 0))


def living(app: App) -> list[WorkerRecord]:
    """The workers on the file of `app` that live.

    A worker lives while its heartbeat is fresh and the kernel does not know its process to be gone. The kernel can be
    asked on the worker's own machine only: elsewhere the heartbeat alone decides, after `late_ms`. Of a worker of many
    files, which does not beat in those that rest, the kernel's word alone is enough. In a copy or a replica: those that
    lived when it was written.
    """
    return living_in(app.storage, as_of_ms(app), late_ms(app))


def living_in(storage: Storage, now_ms: int, late: int) -> list[WorkerRecord]:
    """As `living`, of a queue without an app: those in `storage` whose heartbeat is no older than `late` ms."""
    if storage.driver.age_s() is not None:
        return [one for one in storage.reader.workers() if abs(now_ms - one.heartbeat_ms) <= late]
    dead = partial(is_dead, one_machine=storage.driver.one_machine)
    return [
        worker
        for worker in storage.reader.workers()
        # One of the future is from before the clock was set back: a living worker has sent another since.
        if (abs(now_ms - worker.heartbeat_ms) <= late and not dead(worker.identity)) or _is_at_rest(worker)
    ]


def _is_at_rest(worker: WorkerRecord) -> bool:
    return bool(worker.facts.get(RESTS)) and presence(worker.identity) is Presence.ALIVE


def takes_from(worker: WorkerRecord, queue: str, *, quiet: bool = False) -> bool:
    """Whether `worker` claims from `queue`, by its name or by a glob; a quiet one claims from none, or with `quiet`."""
    facts = worker.facts
    named = queue in (facts.get("queues") or ()) or any(fits(queue, glob) for glob in facts.get("globs") or ())
    return named and (quiet or not facts.get("quiet"))


def untaken(queue: str, alive: Iterable[WorkerRecord], name: str) -> str:
    """The reason why none of the workers `alive` claims from `queue`, which the text calls `name`, and what to do."""
    if any(takes_from(worker, queue, quiet=True) for worker in alive):
        return f"the workers of {name} are quiet: they claim nothing until `liteq control wake`"
    how = f"start one with {as_command('worker -Q', queue)}, or {as_command('control add_consumer', queue)}"
    return f"no worker takes from {name}: {how}"


def knows(worker: WorkerRecord, task: str) -> bool:
    """Whether `worker` has told that it knows `task`; one of Celery's may know it where it has not told its tasks."""
    told, of_celery = worker.facts.get("tasks"), bool(worker.facts.get("celery"))
    if not isinstance(told, list):
        return of_celery
    return task in told or (of_celery and is_built_in(task))  # these are told by nobody


def none_knows(takers: Iterable[WorkerRecord], task: str) -> bool:
    """Whether each of `takers` has told its tasks, and `task` is not among them."""
    return not is_built_in(task) and not any(
        knows(one, task) or not isinstance(one.facts.get("tasks"), list) for one in takers
    )


def knowing(workers: Iterable[WorkerRecord], queue: str, task: str, *, but: str | None) -> str | None:
    """The name of one of `workers` that takes from `queue` and knows `task`, other than `but`; None: there is none."""
    for one in workers:
        if one.name != but and takes_from(one, queue) and knows(one, task):
            return one.name
    return None
