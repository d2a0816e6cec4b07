"""The one way by which a web framework reaches into the apps of its process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from liteq.context.observing import Observer, all_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from liteq.serialization.sealing import Vault
    from liteq.storage.storage import Storage

__all__ = ["Around", "Integration", "Integrations", "RunCoroutine"]

Around = Callable[[Any, Any], AbstractContextManager[object]]  # of a task and its request
RunCoroutine = Callable[[Coroutine[Any, Any, Any]], Any]


class Integration(Protocol):
    """The hooks of a framework. Subclass it and override those that it needs: the others change nothing.

    `app.integrations.add(...)` installs one. A hook that has no answer returns None; the integration added last
    is asked first.
    """

    def settings(self, *, is_bare: bool) -> Mapping[str, Any]:
        """The settings that the framework holds for the app: above its configuration object, below its code.

        `is_bare`: the program gave the app neither a configuration nor a file. Read again by `reload_settings()`.
        """
        return {}

    def configured(self, conf: Any) -> None:
        """Called once the settings have been gathered; may add to them."""
        return

    def open_storage(self, url: str, **options: Any) -> Storage | None:
        """The queue at `url`, opened in the framework's own way. Options as of `liteq.storage.storage.open_storage`."""
        return None

    def find_task(self, name: str) -> Any:
        """A task that is not in the app's registry."""
        return None

    def packages(self) -> Iterable[str] | None:
        """The packages in which `autodiscover_tasks()` looks that is given none."""
        return None

    def submit(self, call: Callable[[], Any], *, writes: bool) -> Future[Any] | None:
        """Run `call`, which async code waits for, in a thread of the framework's; by default in one of liteq's own.

        `writes`: it writes to the queue.
        """
        return None

    def coroutine_runner(self) -> RunCoroutine | None:
        """The function that runs an `async def` task to its end."""
        return None

    def around_task(self) -> Around | None:
        """The function of a task and its request that returns a context manager around each execution.

        Hooks and signals of the task run inside. The context is left with the task's exception, and cannot change the
        outcome. When it cannot be entered, the task fails.
        """
        return None

    def observer(self) -> Observer | None:
        """The observer of what the app sends and executes; each integration may have one."""
        return None


class Integrations:
    """All integrations of one app as one: the first answer to each hook, and all settings together.

    `changed` is called when there is one more, or one less.
    """

    def __init__(self, *integrations: Integration, changed: Callable[[], None] = lambda: None) -> None:
        self._all = list(integrations)
        self._changed = changed

    def __iter__(self) -> Iterator[Integration]:
        return iter(self._all)

    def add(self, integration: Integration) -> None:
        """Install `integration`."""
        self._all.append(integration)
        self._changed()

    def remove(self, integration: Integration) -> None:
        """Take `integration` out again. Raises ValueError where it is not installed."""
        self._all.remove(integration)
        self._changed()

    def has(self, kind: type[Integration]) -> bool:
        """Whether one of this class is installed."""
        return any(isinstance(one, kind) for one in self._all)

    def settings(self, *, is_bare: bool) -> dict[str, Any]:
        """The settings of all; those of an integration added later count over those of an earlier one."""
        found: dict[str, Any] = {}
        for one in self._all:
            found |= one.settings(is_bare=is_bare)
        return found

    def configured(self, conf: Any) -> None:
        """Tell each that the settings have been gathered."""
        for one in self._all:
            one.configured(conf)

    def open_storage(self, url: str, *, vault: Vault | None = None, **options: Any) -> Storage:
        """The queue at `url`, its values sealed by `vault`."""
        from liteq.storage.storage import open_storage

        found: Storage = self._first(lambda one: one.open_storage(url, **options)) or open_storage(url, **options)
        if vault is not None:
            from liteq.storage.sealed import seal

            seal(found.driver, vault)
        return found

    def find_task(self, name: str) -> Any:
        """A task that is not registered; None where no integration knows it."""
        return self._first(lambda one: one.find_task(name))

    def packages(self) -> Iterable[str] | None:
        """The packages to look for tasks in."""
        found: Iterable[str] | None = self._first(lambda one: one.packages())
        return found

    def submit(self, call: Callable[[], Any], *, writes: bool) -> Future[Any] | None:
        """The future of `call`; None where liteq's own threads are to run it."""
        future: Future[Any] | None = self._first(lambda one: one.submit(call, writes=writes))
        return future

    def coroutine_runner(self) -> RunCoroutine | None:
        """The function that runs an `async def` task; None for liteq's own."""
        runner: RunCoroutine | None = self._first(lambda one: one.coroutine_runner())
        return runner

    def around_task(self) -> Around | None:
        """The context manager around each execution of a task; None where there is none."""
        around: Around | None = self._first(lambda one: one.around_task())
        return around

    def observer(self) -> Observer | None:
        """All observers as one, that of the integration added last outermost; None where there is none."""
        return all_of([one for integration in reversed(self._all) if (one := integration.observer()) is not None])

    def _first(self, ask: Callable[[Integration], Any]) -> Any:
        return next((answer for one in reversed(self._all) if (answer := ask(one)) is not None), None)
