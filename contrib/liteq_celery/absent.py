"""Error texts for Celery's names that liteq does not have: each says what stands in its place."""

from __future__ import annotations

from liteq.exceptions import closest
from liteq_celery.names import MODULES

__all__ = ["is_explained", "why_not"]

INSPECT = "ask `app.control.inspect()`"
ONE_FILE = "the queue and the results are one SQLite file: there is no broker connection"
PROCESSES = "processes of tasks are not daemonic: the standard library's multiprocessing works in them"

INSTEAD = {
    "billiard": PROCESSES,
    "celery.app.amqp": ONE_FILE,
    "celery.app.backends": ONE_FILE,
    "celery.app.defaults": "the log formats are there; the settings are in `liteq.settings.SETTINGS`, and `app.conf` "
    "has their values",
    "celery.app.log": "logs are set up by `liteq.cli.logs`; connect to the signal setup_logging to do it yourself",
    "celery.app.routes": "see `liteq.routing.routes.Router`; the setting task_routes takes what Celery's takes",
    "celery.apps.beat": "see `liteq.beat.Beat`",
    "celery.apps.multi": "`liteq multi` starts several workers; its parts are in `liteq.cli.compat.nodes`",
    "celery.backends": "results are in the broker's file; `app.backend` answers for them",
    "celery.beat": "entries are rows, turned into messages by `liteq.beat.Beat`, which is no schedulers' base class; "
    "`app.schedules` adds, pauses and runs entries",
    "celery.bin": "commands are click commands of `liteq.cli`, one a file",
    "celery.bootsteps": "Step and StartStopStep are there; blueprints are not: see `liteq.worker.worker`",
    "celery.concurrency": "the pools are prefork, asyncio, threads and solo (`liteq.worker.pool`); for tasks that "
    "wait, write `async def` tasks, and run them with -P asyncio",
    "celery.contrib.migrate": "messages are in one file: see `liteq backup` and `liteq dead`",
    "celery.contrib.rdb": "use `pytest` with `liteq.testing`, or pdb with the solo pool",
    "celery.events": "`app.events` and celery.events.{event,dispatcher,receiver,snapshot,state} are there; there is no "
    "broker for event messages, and no curses screen: see `liteq events`",
    "celery.app.trace": "a task is executed by `liteq.execution.execute.execute`; `build_tracer` may be replaced, and "
    "the signals task_prerun, task_postrun, task_failure tell of it",
    "celery.fixups": "there are no fixups: connect to the signals task_prerun and task_postrun",
    "celery.loaders": "there are no loaders: `config_from_object` and `autodiscover_tasks` do what they did",
    "celery.platforms": "signals, exit codes and the names of systems are there; the worker's options --uid, --gid, "
    "--umask, --pidfile and --detach do the rest",
    "celery.security": "messages are JSON rows in a file of your own: its permissions protect them",
    "celery.task": "gone since Celery 5: `from celery import shared_task, Task`",
    "celery.worker.consumer": "see `liteq.worker.loop`; it is no place for steps of one's own",
    "celery.worker.request": "a running task's request is `self.request` (`liteq.context.Request`); time limits and "
    "failures reach signals and the task's on_failure",
    "celery.worker.state": f"what workers hold is in the file: {INSPECT}",
    "kombu.Consumer": ONE_FILE,
    "kombu.common": "there are no broadcast queues: a message runs once; `app.control.broadcast` reaches every worker",
    "kombu.serialization": "`register` and `unregister` are there; which serializers are used say the settings "
    "accept_content, task_serializer and result_serializer; pickles are signed",
    "kombu.transport": ONE_FILE,
}


def is_explained(fullname: str) -> bool:
    """Whether there is a sentence of its own about `fullname`, or about a module above it."""
    parts = fullname.split(".")
    return any(".".join(parts[:end]) in INSTEAD for end in range(1, len(parts) + 1))


def why_not(fullname: str) -> str:
    """One sentence about a module, or a name in one, that is not mapped."""
    parts = fullname.split(".")
    for end in range(len(parts), 0, -1):
        if (sentence := INSTEAD.get(".".join(parts[:end]))) is not None:
            return f"{fullname} is not part of liteq: {sentence}"
    parent, _, name = fullname.rpartition(".")
    near = closest(name, MODULES[parent].public_names()) if parent in MODULES else closest(fullname, MODULES)
    return f"{fullname} is not part of liteq; like it: {near}"
