"""LiteQ: the app. It holds the tasks, the settings and the storage."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from liteq import context
from liteq.app.backend import Backend
from liteq.app.builtins import add_builtins
from liteq.app.configuration import AppConf, ConfigSource, PendingConf, outside_sources
from liteq.app.loading import autodiscover
from liteq.app.making import annotate, generate_name, task_class_of
from liteq.app.registry import TaskRegistry
from liteq.app.sending import Sending
from liteq.app.task import Task
from liteq.app.urls import check_url
from liteq.canvas import Signature, signature
from liteq.clock import Clock, SystemClock, from_ms
from liteq.exceptions import AlreadyRegistered, ImproperlyConfigured
from liteq.result import AsyncResult, GroupResult, ResultSet
from liteq.settings import Conf, import_object
from liteq.signals import Signal
from liteq.storage.driver import Durability

if TYPE_CHECKING:
    from liteq.storage.storage import Storage

__all__ = ["LiteQ"]

P = ParamSpec("P")
R = TypeVar("R")


class LiteQ(Sending):
    """A task queue over one file.

        app = LiteQ("shop", broker="sqlite:///tasks.db")

        @app.task
        def add(x: int, y: int) -> int: ...

    `main` names tasks of the module that is run as a script. `broker` is where the queue lives: `sqlite:///` and a
    path, relative to the working directory; with four slashes an absolute one. Without it the setting `broker_url`
    counts (LITEQ_BROKER_URL, a configuration object); there is no default, because a web process and a worker that
    were started in two directories would each make a file of their own. `include` are modules of tasks that a worker
    imports. Any setting may follow as a keyword. Results are in the same file: `backend` is accepted and not used.
    """

    Pickler: Any = None

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
        self.autofinalize = autofinalize
        self.namespace = namespace
        self.clock: Clock = clock or SystemClock()
        self.task_cls: Any = task_cls or Task
        self.finalized = False
        self.on_configure = Signal("on_configure", "source")
        self.on_after_configure = Signal("on_after_configure", "source")
        self.on_after_finalize = Signal("on_after_finalize")
        self.on_after_fork = Signal("on_after_fork")
        self._lock = threading.RLock()
        self._tasks = tasks if isinstance(tasks, TaskRegistry) else TaskRegistry(tasks or {})
        self._discoveries: list[Callable[[], list[Any]]] = []
        self._periodic: list[tuple[str, dict[str, Any]]] = []
        self._conf: AppConf | None = None
        self._source = ConfigSource(config_source, namespace) if config_source is not None else None
        given = {"broker_url": broker, "result_backend": backend, "include": tuple(include) if include else None}
        noted = {**settings, **(changes or {}), **{key: value for key, value in given.items() if value is not None}}
        self._noted: dict[str, Any] = noted
        self._pending = PendingConf(self._load_conf, lambda: self._conf, noted)
        if set_as_current:
            self.set_current()
        context.announce_app(self)

    # -- the current app

    def set_current(self) -> None:
        """Make this the app that `current_app` means in this thread."""
        context.set_current_app(self)

    def set_default(self) -> None:
        """Make this the app that `current_app` means in threads that have set none."""
        context.set_default_app(self)

    # -- settings

    @property
    def conf(self) -> Any:
        """The settings: attributes and items. They are gathered when the first one is read."""
        return self._conf if self._conf is not None else self._pending

    @conf.setter
    def conf(self, settings: Mapping[str, Any]) -> None:
        self._load_conf().update(settings)

    @property
    def configured(self) -> bool:
        """Whether the settings have been gathered."""
        return self._conf is not None

    def _load_conf(self) -> Conf:
        with self._lock:
            if self._conf is not None:
                return self._conf
            self.on_configure.send(sender=self, source=self._source)
            conf = AppConf(self._conf_changed)
            if self._source is not None:
                self._source.apply_to(conf)
            conf.apply(self._noted)
            conf.apply_given(outside_sources())
            self._conf = conf
            for key, entry in self._periodic:
                self._schedule(key, entry)
            self.on_after_configure.send(sender=self, source=conf)
            return conf

    def _conf_changed(self) -> None:
        self.publisher.forget()
        for task in self._tasks.values():
            task.__dict__.pop("_plan", None)

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take the settings from a module, an object or a mapping, or from the path of one: `"proj.config"`.

        It is read when the first setting is, with `force` at once. `namespace="CELERY"` reads only the names that begin
        with `CELERY_`. `silent` leaves out what cannot be imported.
        """
        self._source = ConfigSource(obj, namespace or self.namespace)
        if not force and self._conf is None:
            return
        try:
            self._source.apply_to(self._load_conf())
        except ImproperlyConfigured:
            if not silent:
                raise

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """As `config_from_object`, the path being in an environment variable; whether that is set."""
        path = os.environ.get(variable_name)
        if not path:
            if silent:
                return False
            raise ImproperlyConfigured(f"the environment variable {variable_name} names the settings, and is not set")
        self.config_from_object(path, silent=silent, force=force)
        return True

    # -- tasks

    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
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
        function = getattr(function, "__wrapped__", function) if isinstance(function, Task) else function
        if not callable(function):
            raise TypeError(f"a task is made of a function, not of {function!r}")
        name = name or self.gen_task_name(function.__name__, function.__module__)
        there = self._tasks.get(name)
        if there is not None:
            if _origin(there) != _origin_of(function):
                raise AlreadyRegistered(f"two functions want to be the task {name!r}: give one of them a `name=`")
            if getattr(there, "__wrapped__", None) is function:
                return there
        options.pop("lazy", None)
        options.pop("shared", None)
        options.setdefault("typing", self.strict_typing)
        cls = task_class_of(function, base or self.Task, bind=bind, options={**options, "name": name})
        return self._register(cls())

    _task_from_fun = task_from_function

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task of a class of one's own: `app.register_task(Import())`; the task."""
        task = task() if isinstance(task, type) else task
        if not task.name:
            cls = type(task)
            task.name = self.gen_task_name(cls.__name__, cls.__module__)
        for key, value in options.items():
            setattr(task, key, value)
        return self._register(task)

    def _register(self, task: Any) -> Any:
        task.bind(self)
        self._tasks[task.name] = task
        if self.finalized and self.conf.task_annotations:
            annotate(task, self.conf.task_annotations)
        self.publisher.forget(task.name)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that was given none: `module.name`."""
        return generate_name(self.main, name, module)

    @cached_property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """The base class of this app's tasks."""
        cls = import_object(self.task_cls) if isinstance(self.task_cls, str) else self.task_cls
        return type(cls.__name__, (cls,), {"_app": self, "abstract": True, "__module__": cls.__module__})

    @property
    def tasks(self) -> TaskRegistry:
        """Every task, by name, those of other packages (`shared_task`) too."""
        if not self.finalized:
            self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:
        """Complete the registry: shared tasks, annotations. Happens by itself when the app is first used."""
        with self._lock:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("the app is not finalized: call app.finalize() before it is used")
            self.finalized = True
            add_builtins(self)
            context.announce_finalized(self)
            annotations = self.conf.task_annotations
            for task in list(self._tasks.values()):
                if annotations:
                    annotate(task, annotations)
        self.on_after_finalize.send(sender=self)

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the module `tasks` of these packages, once a worker starts or Django is ready (with `force`, at once).

        Without `packages`: of each app of Django's INSTALLED_APPS.
        """

        def discover() -> list[Any]:
            return autodiscover(packages, related_name)

        if force:
            discover()
        else:
            self._discoveries.append(discover)

    def import_tasks(self) -> None:
        """Import whatever holds tasks: `include`, `imports`, and what `autodiscover_tasks` was told. For workers."""
        conf = self.conf
        for name in (*conf.include, *conf.imports):
            import_object(name)
        while self._discoveries:
            self._discoveries.pop(0)()
        self.finalize()

    # -- the file

    @property
    def broker_url(self) -> str:
        """Where the queue lives. Raises ImproperlyConfigured when nobody said."""
        return check_url(self.conf.broker_url)

    @cached_property
    def storage(self) -> Storage:
        """The storage: opened, and brought up to date, when it is first used."""
        from liteq.storage import open_driver
        from liteq.storage.storage import Storage

        conf = self.conf
        with self._lock:
            if "storage" in self.__dict__:
                opened: Storage = self.__dict__["storage"]
                return opened
            driver = open_driver(
                self.broker_url,
                driver=conf.sqlite_driver,
                durability=Durability(conf.durability),
                busy_timeout_s=conf.busy_timeout,
                allow_network_filesystem=conf.allow_network_filesystem,
            )
            storage = Storage(driver, clock=self.clock, max_crashes=conf.max_crashes, max_reaps=conf.max_reaps)
            storage.migrate()
            self.__dict__["storage"] = storage
            return storage

    @cached_property
    def backend(self) -> Backend:
        """For code that asks Celery's result backend."""
        return Backend(self)

    def close(self) -> None:
        """Close the file. The app can be used again, and then opens it again."""
        storage = self.__dict__.pop("storage", None)
        if storage is not None:
            storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- signatures and results

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature that is sent through this app."""
        kwargs["app"] = self
        return signature(*args, **kwargs)

    def AsyncResult(self, id: str, **kwargs: Any) -> AsyncResult[Any]:  # noqa: N802 - Celery's name
        """The result of the message `id`."""
        kwargs.setdefault("app", self)
        return AsyncResult(id, **kwargs)

    def GroupResult(self, id: str | None = None, results: Iterable[Any] = (), **kwargs: Any) -> GroupResult:  # noqa: N802
        """The results of a group."""
        kwargs.setdefault("app", self)
        return GroupResult(id, results, **kwargs)

    def ResultSet(self, results: Iterable[Any], **kwargs: Any) -> ResultSet:  # noqa: N802
        """Some results, to be waited for together."""
        kwargs.setdefault("app", self)
        return ResultSet(results, **kwargs)

    # -- what is sent periodically

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
        if isinstance(sig, Signature):
            sig = sig.clone(args, dict(kwargs or {}))
        else:
            sig = self.signature(sig.name, args, dict(kwargs or {}))
        entry = {
            "schedule": schedule, "name": name, "task": sig["task"], "args": sig["args"], "kwargs": sig["kwargs"],
            "options": {**sig["options"], **options},
        }  # fmt: skip
        key = name or repr(sig)
        if self.configured:
            self._schedule(key, entry)
        else:
            self._periodic.append((key, entry))
        return key

    def _schedule(self, key: str, entry: dict[str, Any]) -> None:
        conf = self._conf
        assert conf is not None
        conf.beat_schedule = {**conf.beat_schedule, key: entry}

    # -- processes

    def worker_main(self, argv: list[str] | None = None) -> Any:
        """Run the command line `liteq worker ...` for this app: `app.worker_main(["worker", "--concurrency=2"])`."""
        main = import_object("liteq.cli:main")
        return main(args=["-A", self, *(argv or ["worker"])], obj=self)

    def start(self, argv: list[str] | None = None) -> Any:
        """As `worker_main`, for any command."""
        return self.worker_main(argv)

    def now(self) -> Any:
        """The time, aware, in UTC."""
        return from_ms(self.clock.now_ms())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}:0x{id(self):x}>"

    def __reduce__(self) -> Any:
        raise TypeError("an app is not sent to another process: import it there")


def _origin_of(function: Any) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def _origin(task: Any) -> tuple[str, str]:
    function = getattr(task, "__wrapped__", None)
    return _origin_of(function) if function is not None else (type(task).__module__, type(task).__qualname__)
