"""The file that an app's calls go to: its own, or the one that `using` names.

A file of `using` has a view of the app: the same settings, tasks and sender, with a storage of its own. Results that
are made there keep the view, so they ask the right file wherever they are asked.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Self, cast, overload
from urllib.parse import quote

from liteq.app.urls import check_url, is_of_other_broker
from liteq.clock import Clock
from liteq.context import Integrations
from liteq.exceptions import CanvasConflict
from liteq.settings.schemes import BUILT_IN, scheme_of

if TYPE_CHECKING:
    from liteq.app.settings import Settings
    from liteq.storage.storage import Storage

__all__ = ["Files", "InFiles", "url_of"]

KEPT = 32  # files of `using` that a process keeps open; the one used longest ago is closed first
OF_A_FILE = frozenset(
    {"storage", "own_storage", "alone", "files", "control", "events", "schedules", "backend", "pool"}
    | {"AsyncResult", "ResultSet", "GroupResult"}
)  # of an app: a view makes its own


def url_of(db: str | os.PathLike[str]) -> str:
    """The broker URL of `db`: of a path, absolute from here on; a URL as it is."""
    text = os.fspath(db)
    if not text:
        raise ValueError('app.using() takes the path of a file, such as "tenants/a.db", or a broker URL')
    return text if "://" in text else f"sqlite:///{quote(os.path.abspath(os.path.expanduser(text)))}"


class Files:
    """The views of `app`, by URL, and which of them counts here. Safe to use from any thread."""

    def __init__(self, app: InFiles) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._views: OrderedDict[str, InFiles] = OrderedDict()
        self._here: ContextVar[InFiles | None] = ContextVar("liteq_file", default=None)
        self._home: ContextVar[InFiles | None] = ContextVar("liteq_file_of_task", default=None)
        self.here = self._here.get
        """The view that counts here; None: the app's own file."""
        self.home = self._home.get
        """The view of the file from which the running task came; None: of the app's own, or there is none."""

    def view(self, url: str) -> InFiles:
        """The view of the file `url`; the one that was asked for longest ago may be closed for it."""
        with self._lock:
            view = self._views.get(url)
            if view is None:
                view = self._views[url] = self._app.view_of(url)
            self._views.move_to_end(url)
            old = self._views.popitem(last=False)[1] if len(self._views) > KEPT else None
        if old is not None:
            old.close()  # a result that has it opens it again
        return view

    @contextmanager
    def entered(self, view: InFiles, *, home: bool = False) -> Iterator[None]:
        """Let `view` count in the block; with `home` as the file of the task that runs in it, too."""
        here, token = self._here.set(view), self._home.set(view) if home else None
        try:
            yield
        finally:
            self._here.reset(here)
            if token is not None:
                self._home.reset(token)

    def enter(self, view: InFiles) -> None:
        """Let `view` count for the rest of this context, as the file of the task that runs in it."""
        self._here.set(view)
        self._home.set(view)

    def close(self) -> None:
        """Close the files of all views."""
        with self._lock:
            views = list(self._views.values())
        for view in views:
            view.close()


class OfFile:
    """The attribute `storage`: kept in the app's `__dict__`, where one read costs no call, until files are in use."""

    @overload
    def __get__(self, app: None, owner: type) -> Self: ...
    @overload
    def __get__(self, app: InFiles, owner: type) -> Storage: ...
    def __get__(self, app: InFiles | None, owner: type) -> Self | Storage:
        return self if app is None else app.storage_here()


class InFiles:
    """The part of an app that has a file, or several."""

    files: Files | None = None
    """The files of `using`; None where that was never called, and of a view."""
    db_url: str | None = None
    """Of a view: the file's URL."""
    storage = OfFile()
    """The storage: opened, and brought up to date, when it is first used; inside `using`, that file's."""

    settings: Settings
    integrations: Integrations
    _machine: Clock
    _lock: threading.RLock

    @property
    def broker_url(self) -> str:
        """Where the queue lives; inside `using`, that file. Raises ImproperlyConfigured where no setting says."""
        here = self if self.files is None else self.files.here() or self
        return here.db_url or self.settings.broker_url

    # -- several files

    @contextmanager
    def using(self, db: str | os.PathLike[str]) -> Iterator[Self]:
        """In the block, send to the file `db`, and ask that one: `with app.using("tenants/a.db"): add.delay(1, 2)`.

        `db`: a path, or a broker URL; the file is made by the first call that is sent. It counts in this thread, or
        coroutine, and in those that it awaits; a thread that is started in the block enters it anew. Results that are
        made in the block ask this file also after it. Raises ImproperlyConfigured for a URL that no engine takes.
        """
        url = check_url(url_of(db))
        files = self.in_files()
        with files.entered(files.view(url)):
            yield self

    @contextmanager
    def at_home(self, file: str | InFiles) -> Iterator[None]:
        """As `using`, of the file from which the task came that runs in the block: its URL, or a view.

        For workers of several files.
        """
        files = self.in_files()
        with files.entered(files.view(file) if isinstance(file, str) else file, home=True):
            yield

    def enter_home(self, url: str) -> None:
        """As `at_home`, for the rest of this context: of a coroutine that has one of its own."""
        files = self.in_files()
        files.enter(files.view(url))

    def view_at(self, path: str) -> tuple[Self, str]:
        """A view of the file `path` that the caller keeps, and closes, and its URL. For workers of several files."""
        url = url_of(path)
        self.in_files()
        return self.view_of(url), url

    def keep(self, storage: Storage) -> None:
        """Let `storage`, which is open, be that of this view."""
        self.__dict__["storage"] = storage
        self.prepare(storage)

    def in_files(self) -> Files:
        """The files of `using`; from now on `storage` looks which one counts."""
        if self.db_url is not None:
            raise ValueError(f"this is a view of {self.db_url}: call using() of the app itself")
        with self._lock:
            if self.files is None:
                found = self.__dict__.get("storage")
                if found is not None:
                    self.__dict__["own_storage"] = found
                self.files = Files(self)
                self.__dict__.pop("storage", None)
            return self.files

    def view_of(self, url: str) -> Self:
        """This app, with the file `url` for its own."""
        for shared in ("middleware", "limits", "steps_of_workflows", "versions_of_workflows"):
            getattr(self, shared)  # one for all views
        view = object.__new__(type(self))
        view.__dict__.update({name: value for name, value in self.__dict__.items() if name not in OF_A_FILE})
        view.db_url = url
        return view

    @property
    def here(self) -> Self:
        """The app as it is here: inside `using`, the view of that file."""
        return self if self.files is None else cast("Self", self.files.here() or self)

    @property
    def of_task(self) -> Self:
        """The app with the file from which the running task came: `using` changes nothing in it."""
        return self if self.files is None else cast("Self", self.files.home() or self._alone())

    def _alone(self) -> Self:
        """This app with its own file, whatever `using` says."""
        view = self.__dict__.get("alone")
        if view is None:
            view = self.view_of(self.settings.broker_url)
            view.__dict__["storage"] = self._own()
            self.__dict__["alone"] = view
        return cast("Self", view)

    def stay_home(self, what: str) -> None:
        """Refuse `what`, a part of the running task's canvas or run, inside `using` of another file.

        Raises CanvasConflict.
        """
        if self.files is None:
            return
        home = self.files.home()
        here, own = self.files.here() or self, home or self
        if here is not own and self._url(here) != self._url(own):
            raise CanvasConflict(
                f"{what} belongs to the file of the task that runs, {self._url(own)}; no canvas crosses files: do it "
                f"outside of `with app.using(...)` ({self._url(here)}), or send that file a call of its own, by delay()"
            )

    def _url(self, app: InFiles) -> str:
        return app.db_url or self.settings.broker_url

    # -- the storage

    def storage_here(self) -> Storage:
        """The storage that counts here: see `storage`."""
        if self.files is None:
            with self._lock:
                if (found := self.__dict__.get("storage")) is not None:
                    return cast("Storage", found)
                if self.files is None:
                    opened = self.__dict__["storage"] = self._opened()
                    return opened
        here = self.files.here()
        return self._own() if here is None else here.storage

    def _own(self) -> Storage:
        found = self.__dict__.get("own_storage")
        if found is None:
            with self._lock:
                found = self.__dict__.get("own_storage")
                if found is None:
                    found = self.__dict__["own_storage"] = self._opened(self.settings.broker_url)
        return cast("Storage", found)

    def _opened(self, url: str | None = None) -> Storage:
        """The file, opened for all callers, and up to date."""
        storage = self.open_storage(url)
        try:
            storage.migrate()
            self.prepare(storage)
        except BaseException:
            storage.close()
            raise
        return storage

    def _clock(self) -> Clock:
        url = self.db_url or self.settings.conf.broker_url
        is_shared = url and scheme_of(url) not in BUILT_IN and not is_of_other_broker(url)
        return self.storage.clock if is_shared else self._machine

    clock: Clock = cast("Clock", cached_property(_clock))
    """The queue's clock: this machine's for a file; for a server, which others share, the server's."""

    def prepare(self, storage: Storage) -> None:
        """Do what each file that was opened needs of its app."""

    def open_storage(self, url: str | None = None, *, busy_timeout_s: float | None = None) -> Storage:
        """The queue, or that of `url`, opened once more: for a caller that cannot wait as long for its lock as others.

        `busy_timeout_s`: how long it waits, by default the setting `busy_timeout`. Touches nothing before its first
        use; the caller closes it.
        """
        conf = self.settings.conf
        return self.integrations.open_storage(
            check_url(url) if url else self.broker_url,
            driver=conf.sqlite_driver,
            durability=conf.durability,
            busy_timeout_s=conf.busy_timeout if busy_timeout_s is None else busy_timeout_s,
            allow_network_filesystem=conf.allow_network_filesystem,
            file_mode=int(conf.file_mode, 8),
            vault=self.settings.vault,
            clock=self.__dict__.get("clock", self._machine),
            max_crashes=conf.max_crashes,
            max_reaps=conf.max_reaps,
        )

    def close(self) -> None:
        """Close the file, and those of `using`. The app can be used again, and then opens it again."""
        for name in ("storage", "own_storage"):
            if (storage := self.__dict__.pop(name, None)) is not None:
                storage.close()
        self.__dict__.pop("alone", None)
        if self.files is not None:
            self.files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
