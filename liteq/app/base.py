"""LiteQ: the app. It owns the settings, the sender, the registry of tasks and the storage, and delegates to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from liteq import context
from liteq.app.compat.celery_app import CeleryApp
from liteq.app.compat.pydantic_models import modelled_attributes as modelled
from liteq.app.definitions import generate_name
from liteq.app.files import InFiles
from liteq.app.integrations import ClassHooks, Hooks, apply_fixups
from liteq.app.limits import Limiting
from liteq.app.registrar import Registrar
from liteq.app.registry import TaskRegistry
from liteq.app.settings import Settings, check_keywords
from liteq.app.task import Task
from liteq.app.workflows import Workflows
from liteq.canvas import Node, Signature, signature
from liteq.clock import Clock, SystemClock
from liteq.context import Integrations
from liteq.routing.routes import queue_name
from liteq.sending.publish_signals import task_sent_events
from liteq.sending.publisher import Publisher
from liteq.sending.sender import Sender
from liteq.serialization import Content
from liteq.signals import Signal
from liteq.utils.misspelt import suggesting

if TYPE_CHECKING:
    from liteq.app.control import Control
    from liteq.app.schedules import Periodic
    from liteq.events import Events
    from liteq.storage.storage import Storage

__all__ = ["Celery", "LiteQ"]

P = ParamSpec("P")
R = TypeVar("R")


class LiteQ(Hooks, Workflows, Limiting, InFiles, CeleryApp):
    """A task queue over one file.

        app = LiteQ("shop", broker="sqlite:///tasks.db")

        @app.task
        def add(x: int, y: int) -> int: ...

    `main` names tasks of the module that is run as a script. `broker` is where the queue lives: `sqlite:///` and a
    path, relative to the working directory; with four slashes an absolute one. Without it the setting `broker_url`
    counts (LITEQ_BROKER_URL, a configuration object); there is no default. `include` are modules of tasks that a worker
    imports. Any setting may follow as a keyword. Results are in the same file: `backend` is accepted and not used.
    """

    task_cls: Any = Task
    """The base class of its tasks, or the path of one: a class of apps may have another one in its body."""

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | None = None,
        include: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.main = main
        self.set_as_current = set_as_current
        self.strict_typing = strict_typing
        self._machine = clock or SystemClock()
        if clock is not None:
            self.clock = clock
        if task_cls is not None:
            self.task_cls = task_cls
        self.on_after_fork = Signal("on_after_fork")
        self._lock = threading.RLock()  # one for all parts: settings, registry and storage ask each other
        self.integrations = Integrations(ClassHooks(self), changed=self._settings_changed)
        self.sender = Sender(self, LiteQ)
        before: Registrar | None = self.__dict__.get("registrar")
        self.registrar = Registrar(self, tasks, autofinalize=autofinalize, lock=self._lock, modelled=modelled)
        given = {"broker_url": broker, "result_backend": backend, "include": tuple(include) if include else None}
        check_keywords(type(self).__name__, settings)
        noted = {**settings, **(changes or {}), **{key: value for key, value in given.items() if value is not None}}
        self.settings = Settings(self, config_source, namespace, noted, changed=self._settings_changed, lock=self._lock)
        if before is not None:  # the init_app() of a class of apps: `app = Shop()` stood above the tasks' modules
            self.registrar.take_over(before)
        apply_fixups(self, fixups)
        if set_as_current:
            self.set_current()
        self.on_init()
        context.announce_app(self)

    # -- settings

    @property
    def conf(self) -> Any:
        """The settings: attributes and items. They are gathered when the first one is read."""
        return self.settings.conf

    @conf.setter
    def conf(self, settings: Mapping[str, Any]) -> None:
        self.settings.gather().update(settings)

    @property
    def configured(self) -> bool:
        """Whether the settings have been gathered."""
        return self.settings.configured

    @property
    def timezone(self) -> tzinfo:
        """The time zone of schedules: the setting `timezone`, by default UTC."""
        return self.settings.timezone

    @timezone.setter
    def timezone(self, zone: Any) -> None:
        self.conf["timezone"] = zone

    @timezone.deleter
    def timezone(self) -> None:
        """Do nothing, for code that has Celery work its cached zone out anew: here it follows the setting."""

    @property
    def content(self) -> Content:
        """How arguments are written and read. Raises ImproperlyConfigured for an unknown serializer."""
        return self.settings.content

    @property
    def result_content(self) -> Content:
        """How results are written and read."""
        return self.settings.result_content

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take the settings from a module, an object or a mapping, or from the path of one: `"proj.config"`.

        It is read when the first setting is, with `force` at once. `namespace="CELERY"` reads only the names that begin
        with `CELERY_`. `silent` leaves out what cannot be imported.
        """
        self.settings.config_from_object(obj, silent=silent, force=force, namespace=namespace)

    def reload_settings(self) -> None:
        """Read the configuration object and the framework's settings once more: they have changed."""
        self.settings.reload()

    def start_over(self) -> None:
        """Forget the settings that were gathered, and close the file: the next use gathers and opens anew.

        Settings that were assigned since then are forgotten too; the entries of beat stay.
        """
        self.settings.start_over()

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Have beat send `sig` by `schedule` (seconds, timedelta, crontab, ...); the entry's key in `beat_schedule`."""
        return self.settings.add_periodic_task(schedule, sig, args, kwargs, name, options)

    def _settings_changed(self) -> None:
        self.sender.renew()
        self.registrar.forget_plans()

    # -- tasks

    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, *, batch: int, **options: Any) -> Callable[[Callable[..., Any]], Task[..., Any]]: ...
    @overload
    def task(
        self, *, bind: Literal[True], **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
    @overload
    def task(self, *, bind: Literal[False] = ..., **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function: `@app.task`, or with options `@app.task(bind=True, max_retries=5)`.

        name, bind (the task itself is the first argument), base (a Task class), and any attribute of Task. Also for
        `async def`. Raises AlreadyRegistered when another function has the name.
        """
        if len(args) > 1 or (args and not callable(args[0])):
            raise TypeError("@app.task takes options by keyword, and one function")

        def decorate(function: Callable[..., Any]) -> Any:
            return self.task_from_function(function, **options)

        return decorate(args[0]) if args else decorate

    def task_from_function(
        self, function: Callable[..., Any], name: str | None = None, base: Any = None, bind: bool = False,
        **options: Any,
    ) -> Any:  # fmt: skip
        """The task of `function`; the one that there is already, when it was made of the same function."""
        return self.registrar.task_from_function(function, name, base, options, bind=bind)

    _task_from_fun = task_from_function

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task of a class of one's own: `app.register_task(Import())`; the task."""
        return self.registrar.register_task(task, options)

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that was given none: `module.name`."""
        return generate_name(self.main, name, module)

    @property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """The base class of this app's tasks. One that is assigned is also that of tasks decorated before."""
        if "registrar" not in self.__dict__:  # in the __init__ of a class of apps, before it calls this one's
            return self.create_task_cls()
        return self.registrar.base

    @Task.setter
    def Task(self, base: Any) -> None:  # noqa: N802 - Celery's name
        if "registrar" not in self.__dict__:
            self.task_cls = base
            return
        self.registrar.rebase(base)

    @property
    def tasks(self) -> TaskRegistry:
        """Every task, by name, those of other packages (`shared_task`) too."""
        return self.registrar.tasks

    @property
    def finalized(self) -> bool:
        """Whether the registry is complete: built-in and shared tasks are in it."""
        return self.registrar.finalized

    def finalize(self, auto: bool = False) -> None:
        """Complete the registry: shared tasks, annotations. Happens by itself when the app is first used."""
        self.registrar.finalize(auto)

    def autodiscover_tasks(
        self, packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks", force: bool = False,
    ) -> None:  # fmt: skip
        """Import the module `tasks` of these packages, once a worker starts or Django is ready (with `force`, at once).

        Without `packages`: of each app of Django's INSTALLED_APPS.
        """
        self.registrar.autodiscover(packages, related_name, force=force)

    def import_tasks(self) -> None:
        """Import the modules of `include`, of `imports` and of `autodiscover_tasks`. For workers."""
        self.registrar.import_modules()

    # -- the file

    def prepare(self, storage: Storage) -> None:
        """Write the limits that the code has set, and have the storage write events, for a file that was opened."""
        self.limits.write_declared(storage)
        if "budgets" in vars(self):  # a program without them loads nothing of them
            self.budgets.write_declared(storage)
        if self.conf.task_send_sent_event:
            storage.events_of = partial(task_sent_events, self)

    def default_queues(self) -> list[str]:
        """The queues of a worker that is given none: `select_queues`, `worker_queues`, `task_queues`, the default."""
        if self.selected_queues is not None:
            return list(self.selected_queues)
        declared = self.conf.worker_queues or self.conf.task_queues or [self.conf.task_default_queue]
        return [name for queue in declared if (name := queue_name(queue)) is not None]

    @cached_property
    def control(self) -> Control:
        """Remote control of the workers that live."""
        from liteq.app.control import Control

        return Control(self)

    @cached_property
    def events(self) -> Events:
        """The events of tasks and workers, as they happen."""
        from liteq.events import Events

        return Events(self)

    @cached_property
    def schedules(self) -> Periodic:
        """The entries of beat: those of the configuration, and any that are added while it runs."""
        from liteq.app.schedules import Periodic

        return Periodic(self)

    # -- sending

    @property
    def publisher(self) -> Publisher:
        """Makes the rows of calls."""
        return self.sender.publisher

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature that is sent through this app."""
        kwargs["app"] = self
        return signature(*args, **kwargs)

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Send a task by its name, whether or not this process knows it. Options as `Task.apply_async`."""
        return self.sender.send_task(name, args, kwargs, task_id, options)

    @suggesting
    def enqueue_many(self, calls: Any, arguments: Iterable[Sequence[Any]] | None = None) -> list[str]:
        """Send very many calls in one commit, all or nothing; their ids, in order. Raises as `delay()`.

        Of signatures; or of one task, and the positional arguments of each call: `enqueue_many(add, [(1, 2), (3, 4)])`
        is the quickest. A canvas among signatures counts as its last message, or its group.
        """
        return self.sender.enqueue_many(calls, arguments)

    def revoke(self, ids: Sequence[str], *, terminate: bool = False, signal: str | None = None) -> None:
        """Have messages not run, as `app.control.revoke` does."""
        self.control.revoke(list(ids), terminate=terminate, signal=signal or "SIGTERM")

    @property
    def send_call(self) -> Callable[..., Any]:
        """Sends one call of a task. See `Sender.send_call`, as for the following."""
        return self.sender.send_call

    @property
    def send_signature(self) -> Callable[..., Any]:
        """Sends a signature or a canvas of them, in one transaction; its AsyncResult or GroupResult."""
        return self.sender.send_signature

    @property
    def send_as_member(self) -> Callable[..., Any]:
        """Sends a signature as one more member of a group that has not finished; its result."""
        return self.sender.send_as_member

    @property
    def apply_signature(self) -> Callable[..., Any]:
        """Runs a signature or a canvas here and now; its EagerResult, or a GroupResult of such."""
        return self.sender.apply_signature

    @property
    def result_of(self) -> Callable[[Node], Any]:
        """Makes the AsyncResult or GroupResult of the ids that a canvas was given."""
        return self.sender.result_of

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}:0x{id(self):x}>"

    def __reduce__(self) -> Any:
        raise TypeError("an app is not sent to another process: import it there")


Celery = LiteQ
