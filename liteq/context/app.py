"""`App`: an app as the rooms around it see it. They are typed against this protocol, not against the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Protocol

from liteq.clock import Clock
from liteq.context.integration import Around, Integrations, RunCoroutine
from liteq.middleware import Middlewares
from liteq.serialization import Content

if TYPE_CHECKING:
    from concurrent.futures import Future

    from liteq.storage.storage import Storage

__all__ = ["App", "Sender"]


class Sender(Protocol):
    """The part of an app that sends calls and canvases. `sig` is a `Signature`, `node` a `Node` of `liteq.canvas`."""

    @property
    def goes_through_app(self) -> bool:
        """Whether the calls of tasks go through a `send_task` that is not liteq's own."""

    def through_app(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None, task_id: str | None,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        """Send a call of `task` by that `send_task`; what it returns."""

    def send_call(
        self, task: Any, name: str | None, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None,
        options: dict[str, Any],
    ) -> Any:  # fmt: skip
        """Send one call of `task` (None: of a task that this process does not know); its AsyncResult."""

    def send_signature(
        self, sig: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send `sig` with `args` before its own, `kwargs` and `options` over its own; an AsyncResult or GroupResult."""

    def send_as_member(
        self, sig: Any, group_id: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send `sig` as one more member of a group; its result. Raises ValueError for a group that has finished."""

    def apply_signature(
        self, sig: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run `sig` in this process; an EagerResult or GroupResult."""

    def result_of(self, node: Any, stands: Mapping[str, str] = ...) -> Any:
        """The AsyncResult or GroupResult of `node`, or of the ids that stand for its own."""


class App(Protocol):
    """An app, as every room but its own sees it. `liteq.app.LiteQ` is one.

    What is of a room above this one (control, events, schedules, and Celery's surface) is Any here.
    """

    # -- settings and data

    main: str | None
    clock: Clock
    strict_typing: bool
    task_cls: Any

    @property
    def conf(self) -> Any:
        """The settings, by attribute or item."""

    def create_task_cls(self) -> type[Any]:
        """The base class of its tasks."""

    @property
    def on_configure(self) -> Any:
        """The signal, or the method of its class, that is called when the settings are about to be gathered."""

    @property
    def namespace(self) -> str | None:
        """The prefix of the names that configuration objects hold for it."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""

    @property
    def timezone(self) -> tzinfo:
        """The time zone of schedules."""

    @property
    def broker_url(self) -> str:
        """Where the queue lives. Raises ImproperlyConfigured where nothing says."""

    @property
    def storage(self) -> Storage:
        """The queue: opened when it is first used."""

    @property
    def content(self) -> Content:
        """How arguments are written and read."""

    @property
    def result_content(self) -> Content:
        """How results are written and read."""

    @property
    def files(self) -> Any:
        """The files of `using`; None where that was never called."""

    @property
    def here(self) -> App:
        """The app as it is here: inside `using`, with that file for its own."""

    @property
    def of_task(self) -> App:
        """The app with the file from which the running task came."""

    def stay_home(self, what: str) -> None:
        """Refuse `what`, a part of the running task's canvas, inside `using` of another file. Raises CanvasConflict."""

    def at_home(self, file: Any) -> AbstractContextManager[None]:
        """Let a file, its URL or a view of it, count in the block, as that of the task which runs in it."""

    def enter_home(self, url: str) -> None:
        """As `at_home`, for the rest of this context."""

    def view_at(self, path: str) -> tuple[App, str]:
        """This app with the file `path` for its own, and that file's URL."""

    def keep(self, storage: Storage) -> None:
        """Let `storage`, which is open, be that of this view."""

    def open_storage(self, url: str | None = None, *, busy_timeout_s: float | None = None) -> Storage:
        """The queue, or that of `url`, opened once more: the caller closes it."""

    def reload_settings(self) -> None:
        """Read the configuration object and the framework's settings once more."""

    def close(self) -> None:
        """Close the file; the next use opens it again."""

    # -- tasks

    @property
    def tasks(self) -> Any:
        """The registry, complete: a dict of tasks by name. A missing name raises NotRegistered."""

    @property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """The base class of its tasks."""

    @property
    def finalized(self) -> bool:
        """Whether the registry is complete."""

    def finalize(self, auto: bool = False) -> None:
        """Complete the registry."""

    def import_tasks(self) -> None:
        """Import the modules that hold tasks."""

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that was given none."""

    def task_from_function(self, function: Callable[..., Any], name: str | None = None, **options: Any) -> Any:
        """The task of `function`."""

    def Run(self, id: str) -> Any:  # noqa: N802 - the name of what it makes
        """The run of this id, of a workflow."""

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task of a class of one's own."""

    def task(self, *args: Any, **options: Any) -> Any:
        """The decorator that makes a task of a function."""

    @property
    def steps_of_workflows(self) -> Mapping[str, Any]:
        """The steps of workflows, by name."""

    @property
    def versions_of_workflows(self) -> Mapping[str, Mapping[str, Any]]:
        """The workflows, by name and version."""

    # -- sending

    @property
    def sender(self) -> Sender:
        """Sends calls and canvases."""

    @property
    def publisher(self) -> Any:
        """Makes the rows of calls."""

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send a task by its name."""

    def revoke(self, ids: Sequence[str], *, terminate: bool = False, signal: str | None = None) -> None:
        """Have messages not run."""

    # -- processes

    def default_queues(self) -> list[str]:
        """The queues of a worker that was given none."""

    def select_queues(self, queues: Any = None) -> None:
        """Choose these."""

    # -- hooks

    @property
    def integrations(self) -> Integrations:
        """The hooks of frameworks."""

    @property
    def middleware(self) -> Middlewares:
        """Code around each call that is sent and each execution."""

    framework_settings: Callable[[Any], Mapping[str, Any]] | None
    storage_opener: Callable[..., Storage] | None
    async_submit: Callable[[Callable[[], Any], bool], Future[Any] | None] | None
    coroutine_runner: RunCoroutine | None
    around_task: Around | None

    # -- of rooms above this one

    @property
    def control(self) -> Any: ...
    @property
    def limits(self) -> Any: ...
    @property
    def events(self) -> Any: ...
    @property
    def schedules(self) -> Any: ...
    @property
    def amqp(self) -> Any: ...
    @property
    def backend(self) -> Any: ...
    @property
    def log(self) -> Any: ...
    @property
    def steps(self) -> Any: ...
    @property
    def user_options(self) -> Any: ...
    @property
    def AsyncResult(self) -> Any: ...  # noqa: N802
    @property
    def GroupResult(self) -> Any: ...  # noqa: N802
    @property
    def ResultSet(self) -> Any: ...  # noqa: N802
    def bugreport(self) -> str: ...
    def connection(self, url: str | None = None, *, connect_timeout: float | None = None) -> Any: ...
