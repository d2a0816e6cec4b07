"""Which module of Celery's, kombu's and billiard's has which names, and what each of them is in liteq."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MODULES", "VERSIONS", "Alias"]

VERSIONS = {"celery": "5.7.0", "kombu": "5.7.0", "billiard": "4.3.2"}
"""The packages that liteq stands for, as `importlib.metadata` tells them."""


@dataclass(frozen=True)
class Alias:
    """A module: all public names of the module `whole`, and `names`, each the path of an object.

    `is_replaceable`: a name of `whole` that a program replaces is replaced in liteq itself.
    """

    whole: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    is_replaceable: bool = False

    def path_of(self, name: str) -> str | None:
        """`module:attribute` of the object behind `name`; None where there is none."""
        if name in self.names:
            return self.names[name]
        if self.whole is None or name.startswith("__"):
            return None
        return f"{self.whole}:{name}" if hasattr(importlib.import_module(self.whole), name) else None

    def public_names(self) -> list[str]:
        """The names that `import *` takes."""
        whole = dir(importlib.import_module(self.whole)) if self.whole is not None else []
        return sorted({name for name in (*whole, *self.names) if not name.startswith("_")})


def _from(module: str, names: str) -> dict[str, str]:
    return {name: f"{module}:{name}" for name in names.split()}


EMPTY = Alias()
APP = _from("liteq.app", "Celery shared_task") | _from("liteq_celery.additions", "app_or_default bugreport")
CURRENT = _from("liteq.app", "current_app current_task")
CANVAS = _from("liteq.canvas", "Signature chain chord chunks group maybe_signature signature subtask xmap xstarmap")
UUID = {"uuid": "liteq_celery.additions:uuid"}
UUIDS = UUID | {"gen_unique_id": "liteq_celery.additions:uuid"}
QUEUES = _from("liteq.routing.queues", "Exchange Queue binding")
PRODUCER = _from("liteq.sending.producer", "Producer")
LIMITS = _from("liteq.exceptions", "SoftTimeLimitExceeded Terminated TimeLimitExceeded WorkerLostError")
PROCESS = _from("liteq_celery.processes", "current_process")
MAIN = {"main": "liteq.cli:main"}
CONNECTION = _from("liteq_celery.kombu", "Connection")
COMMANDS = (
    "add_consumer autoscale cancel_consumer disable_events election enable_events heartbeat ok pool_grow "
    "pool_restart pool_shrink rate_limit revoke revoke_by_stamped_headers shutdown terminate time_limit"
)
QUESTIONS = (
    "active active_queues clock conf hello memdump memsample objgraph ping query_task registered report reserved "
    "revoked scheduled stats"
)

MODULES: dict[str, Alias] = {
    "celery": Alias(
        names={
            **APP, **CURRENT, **CANVAS, **UUID, **_from("liteq.app", "Task"),
            **_from("liteq_celery.additions", "VERSION __version__ version_info_t"),
            "version_info": "liteq_celery.additions:VERSION",
        }
    ),
    "celery.__main__": Alias(names=MAIN),
    "celery._state": Alias(
        names={
            **CURRENT,
            **_from("liteq.context", "connect_on_app_finalize get_current_app get_current_task set_default_app"),
            "_set_current_app": "liteq.context:set_current_app",
            "app_or_default": "liteq_celery.additions:app_or_default",
        }
    ),
    # -- the app
    "celery.app": Alias(names={**APP, **_from("liteq.app", "default_app")}),
    "celery.app.base": Alias(
        names=_from("liteq.app", "Celery") | {"PendingConfiguration": "liteq.app.settings:PendingConf"}
    ),
    "celery.app.control": Alias("liteq.app.control"),
    "celery.app.defaults": Alias(names=_from("liteq_celery.additions", "DEFAULT_PROCESS_LOG_FMT DEFAULT_TASK_LOG_FMT")),
    "celery.app.log": Alias(
        names=_from("liteq.utils.log", "ColorFormatter TaskFormatter get_logger")
        | _from("liteq.app.compat.processes", "Logging")
    ),
    "celery.app.registry": Alias("liteq.app.registry"),
    "celery.app.task": Alias(names=_from("liteq.app.task", "Context Task")),
    "celery.backends": EMPTY,
    "celery.backends.base": Alias(
        names={"Backend": "liteq.app.compat.backend:Backend", "BaseBackend": "liteq.app.compat.backend:Backend"}
        | _from("liteq_celery.additions", "DisabledBackend")
    ),
    "celery.app.trace": Alias(
        "liteq.execution.tracing", names=_from("liteq.execution.execute", "logger"), is_replaceable=True
    ),
    "celery.app.utils": Alias(
        names=_from("liteq_celery.additions", "bugreport") | _from("liteq.cli.parts.find_app", "find_app")
        | {"Settings": "liteq.settings:Conf"}
    ),
    "celery.beat": Alias(
        names=_from("liteq.app.lazy_arguments", "BeatLazyFunc")
        | _from("liteq.beat.entries", "ScheduleEntry")
        | {"Scheduler": "liteq.beat:Beat"}
        | _from("liteq.schedules", "crontab maybe_schedule schedule")
        | _from("liteq_celery.additions", "SchedulingError")
    ),
    "celery.registry": Alias(names={"tasks": "liteq_celery.additions:registered_tasks"}),
    "celery.local": Alias(
        names=_from("liteq.utils.proxy", "Proxy maybe_evaluate")
        | _from("liteq_celery.utils.objects", "PromiseProxy class_property")
    ),
    "celery.platforms": Alias("liteq_celery.platforms"),
    # -- what people write
    "celery.bootsteps": Alias("liteq.bootsteps"),
    "celery.canvas": Alias("liteq.canvas"),
    "celery.exceptions": Alias("liteq.exceptions"),
    "celery.result": Alias("liteq.result"),
    "celery.schedules": Alias("liteq.schedules"),
    "celery.signals": Alias("liteq.signals"),
    "celery.states": Alias("liteq.states"),
    "celery.utils": Alias(
        names={
            **UUIDS, "cached_property": "functools:cached_property",
            **_from("liteq_celery.utils.functional", "chunks memoize noop"),
            **_from("liteq_celery.utils.imports", "gen_task_name import_from_cwd instantiate"),
            **_from("liteq_celery.utils.nodenames", "nodename nodesplit worker_direct"),
            **_from("liteq_celery.additions", "LOG_LEVELS"),
        }
    ),
    "celery.utils.dispatch": Alias(names=_from("liteq_celery.additions", "Signal")),
    "celery.utils.functional": Alias("liteq_celery.utils.functional"),
    "celery.utils.graph": Alias(names=_from("liteq.result.graph", "DependencyGraph")),
    "celery.utils.iso8601": Alias(names=_from("liteq_celery.utils.time", "parse_iso8601")),
    "celery.utils.log": Alias("liteq.utils.log"),
    "celery.utils.imports": Alias("liteq_celery.utils.imports"),
    "celery.utils.nodenames": Alias("liteq_celery.utils.nodenames"),
    "celery.utils.objects": Alias(names=_from("liteq_celery.utils.objects", "Bunch FallbackContext mro_lookup")),
    "celery.utils.serialization": Alias("liteq_celery.utils.serialization"),
    "celery.utils.text": Alias("liteq_celery.utils.text"),
    "celery.utils.time": Alias("liteq_celery.utils.time"),
    # -- events
    "celery.events": Alias("liteq.events"),
    "celery.events.dispatcher": Alias(names=_from("liteq.events", "EventDispatcher")),
    "celery.events.event": Alias(names=_from("liteq.events", "Event")),
    "celery.events.receiver": Alias(names=_from("liteq.events", "EventReceiver")),
    "celery.events.snapshot": Alias("liteq.events.snapshot"),
    "celery.events.state": Alias("liteq.events.state"),
    # -- processes
    "celery.apps": EMPTY,
    "celery.apps.beat": Alias(names=_from("liteq.beat", "Beat")),
    "celery.apps.worker": Alias(names={**_from("liteq.worker", "Worker"), "logger": "liteq.utils.log:worker_logger"}),
    "celery.bin": EMPTY,
    "celery.bin.beat": Alias(names=_from("liteq.cli.processes.beat", "beat")),
    "celery.bin.call": Alias(names=_from("liteq.cli.tasks.call", "call")),
    "celery.bin.celery": Alias(names={**MAIN, "celery": "liteq.cli:main"}),
    "celery.bin.control": Alias(
        names=_from("liteq.cli.watching.control", "control")
        | {"inspect": "liteq.cli.watching.inspect:inspect", "status": "liteq.cli.watching.status:status"}
    ),
    "celery.bin.events": Alias(names=_from("liteq.cli.watching.events", "events")),
    "celery.bin.multi": Alias(names=_from("liteq.cli.compat.multi", "multi")),
    "celery.bin.purge": Alias(names=_from("liteq.cli.tasks.purge", "purge")),
    "celery.bin.result": Alias(names=_from("liteq.cli.tasks.result", "result")),
    "celery.bin.shell": Alias(names=_from("liteq.cli.compat.shell", "shell")),
    "celery.bin.worker": Alias(names=_from("liteq.cli.processes.worker", "worker")),
    "celery.worker": Alias(names={"WorkController": "liteq.worker:Worker"}),
    "celery.worker.request": Alias(names=_from("liteq.context", "Request")),
    "celery.worker.strategy": Alias(names={"logger": "liteq_celery.additions:received_logger"}),
    "celery.worker.worker": Alias(names={"WorkController": "liteq.worker:Worker"}),
    "celery.worker.control": Alias(
        "liteq.worker.control.panel",
        names=_from("liteq.worker.control.commands", COMMANDS) | _from("liteq.worker.control.inspect", QUESTIONS)
        | {"nok": "liteq.worker.control.commands:error"},
    ),
    # -- beside
    "celery.contrib": EMPTY,
    "celery.contrib.abortable": Alias("liteq_celery.abortable"),
    "celery.contrib.django": EMPTY,
    "celery.contrib.django.task": Alias(names=_from("liteq_django.task", "DjangoTask")),
    "celery.contrib.pytest": Alias("liteq.testing.plugin"),
    "celery.contrib.testing": EMPTY,
    "celery.contrib.testing.app": Alias(names=_from("liteq_celery.testing_app", "TestApp")),
    "celery.contrib.testing.manager": Alias("liteq_celery.manager"),
    "celery.contrib.testing.tasks": Alias("liteq_celery.ping"),
    "celery.contrib.testing.worker": Alias("liteq.testing.worker"),
    # -- kombu and billiard
    "kombu": Alias(names={**QUEUES, **UUID, **CONNECTION, **PRODUCER}),
    "kombu.connection": Alias(names=CONNECTION),
    "kombu.messaging": Alias(names=PRODUCER),
    "kombu.entity": Alias(names=QUEUES),
    "kombu.exceptions": Alias(
        names={
            **_from("liteq.exceptions", "EncodeError OperationalError"),
            "KombuError": "liteq.exceptions:LiteqError",
            "ContentDisallowed": "liteq.exceptions:SecurityError",
            "DecodeError": "liteq.exceptions:BadMessage",
            "SerializationError": "liteq.exceptions:BadMessage",
            "SerializerNotInstalled": "liteq.exceptions:ImproperlyConfigured",
            "ConnectionError": "liteq.exceptions:StorageError",
            "TimeoutError": "builtins:TimeoutError",
            **_from(
                "liteq_celery.kombu",
                "ChannelError ChannelLimitExceeded ConnectionLimitExceeded InconsistencyError LimitExceeded "
                "MessageStateError NotBoundError ResourceError",
            ),
        }
    ),
    "kombu.serialization": Alias(names=_from("liteq.serialization", "register unregister")),
    "kombu.utils": Alias(names={**UUID, "cached_property": "functools:cached_property"}),
    "kombu.utils.encoding": Alias("liteq_celery.utils.text"),
    "kombu.utils.imports": Alias(names=_from("liteq_celery.utils.imports", "symbol_by_name")),
    "kombu.utils.objects": Alias(names={"cached_property": "functools:cached_property"}),
    "kombu.utils.functional": Alias("liteq_celery.utils.functional"),
    "kombu.utils.json": Alias(
        names=_from("liteq.serialization", "register_type") | _from("liteq_celery.kombu", "JSONEncoder dumps loads")
    ),
    "kombu.utils.url": Alias("liteq_celery.utils.url"),
    "kombu.utils.uuid": Alias(names=UUID),
    "billiard": Alias("multiprocessing", names={**LIMITS, **PROCESS, "VERSION": "liteq_celery.processes:VERSION"}),
    **{
        f"billiard.{name}": Alias(f"multiprocessing.{name}", names=PROCESS if name == "process" else {})
        for name in ("connection", "context", "managers", "process", "queues", "synchronize", "util")
    },
    "billiard.pool": Alias("multiprocessing.pool", names={"Worker": "liteq.worker.pool.prefork.child:Child"}),
    "billiard.einfo": Alias(
        names=_from("liteq.execution.execute", "ExceptionInfo")
        | _from("liteq_celery.additions", "ExceptionWithTraceback")
    ),
    "billiard.exceptions": Alias(
        names=LIMITS | _from("multiprocessing", "AuthenticationError BufferTooShort ProcessError TimeoutError")
    ),
}  # fmt: skip
