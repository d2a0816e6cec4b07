"""The row behind a result: its state and value, and the other columns that a program may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from liteq.clock import from_ms
from liteq.context import App
from liteq.result.progress import Progress, progress_of
from liteq.result.reading import state_of, value_of
from liteq.serialization.content import Owner
from liteq.serialization.failures import exception_from
from liteq.storage.reading.inspect import Record

__all__ = ["RecordResult", "ResultBase", "forget_line", "line_as_tuple", "line_of"]


class ResultBase:
    """Base of everything that can be waited for."""

    app: App
    id: str | None
    parent: ResultBase | None = None

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], connection: Any = None, terminate: bool = False, signal: str | None = None,
        wait: bool = False, timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Cancel each message that bears one of these stamps, as `app.control.revoke_by_stamped_headers`."""
        self.app.control.revoke_by_stamped_headers(
            headers, terminate=terminate, signal=signal or "SIGTERM", reply=wait, timeout=timeout
        )

    def as_tuple(self) -> Any:
        """This result as plain data; `result_from_tuple` makes it a result again."""
        raise NotImplementedError

    def forget(self) -> None:
        """Delete its finished messages from the file."""
        raise NotImplementedError

    @property
    def position(self) -> str:
        """How far a replica must be to show it: a text for `get(after=)`, in a process that reads a replica.

        Ask for it once the send is committed: inside a transaction of Django's, after its end.
        """
        from liteq.result.position import position_of

        return position_of(self.app, str(self.id))

    def line(self) -> list[Any]:
        """This result and its parents, the latest first: in a loop, a chain may be longer than Python's stack."""
        found: list[Any] = [self]
        while (above := found[-1].parent) is not None:
            found.append(above)
        return found

    def _alone(self) -> Any:
        """A callable and its arguments, which make it again but for its parents."""
        raise NotImplementedError

    def _forget_alone(self) -> None:
        """Delete its finished messages, but for those of its parents."""
        raise NotImplementedError

    def _described(self, above: Any) -> Any:
        """`as_tuple()` where `above` is that of its parent."""
        raise NotImplementedError


def app_of_backend(backend: Any) -> App | None:
    """The app that answers where code names Celery's backend: `app.backend` knows its own. None for anything else."""
    app: App | None = getattr(backend, "app", None)
    return app if app is None or app.files is None else app.here


def line_of(described: Iterable[Any]) -> Any:
    """A pickled result again: each of `described` is the parent of the next."""
    result: Any = None
    for make, args in described:
        below = make(*args)
        below.parent, result = result, below
    return result


def line_as_tuple(result: ResultBase, *, parents: int | None = None) -> Any:
    """The tree of ids that ends with `result`; with so many of its parents at most."""
    described: Any = None
    for one in reversed(result.line()[: None if parents is None else parents + 1]):
        described = one._described(described)
    return described


def forget_line(result: ResultBase) -> None:
    """Delete the finished messages of `result` and its parents."""
    for one in result.line():
        one._forget_alone()


class RecordResult(ResultBase):
    """A result that is read from the row of its message."""

    id: str
    _name: str | None = None
    _record: Record | None = None

    # -- the row

    def _read(self, data: bytes) -> Any:
        return self.app.result_content.read(data)

    def _find(self) -> Record | None:
        """The message's row: read anew until it has finished. None for an unknown id."""
        if self._record is None:
            record: Record | None = self.app.storage.reader.find(self.id)
            if record is None or not record.has_ended:
                return record
            self._record = record
        return self._record

    def exists(self) -> bool:
        """Whether the file knows this id: it was sent, and its result is neither forgotten nor expired."""
        return self._find() is not None

    @property
    def task_id(self) -> str:
        return self.id

    @property
    def backend(self) -> Any:
        return self.app.backend

    @backend.setter
    def backend(self, backend: Any) -> None:
        """Read from the file of the app whose `backend` it is; any other object has no file, and changes nothing."""
        if (app := app_of_backend(backend)) is not None:
            self.app = app

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or a name of the task's own (`update_state`)."""
        return state_of(self._find())

    status = state

    @property
    def result(self) -> Any:
        """The return value when SUCCESS, the exception when it failed, the meta of a state of the task's own."""
        record = self._find()
        return None if record is None else value_of(record, state_of(record), self._read)

    info = result

    @property
    def progress(self) -> Progress | None:
        """The last report of the task on its progress (`self.progress`), also once it has ended; None without one."""
        record = self._find()
        return None if record is None else progress_of(record)

    @property
    def traceback(self) -> str | None:
        """The worker's traceback, when it failed."""
        record = self._find()
        return exception_from(record.error)[1] if record is not None and record.error else None

    # -- extended attributes

    @property
    def name(self) -> str | None:
        record = self._find()
        return self._name if record is None else record.task

    @property
    def args(self) -> list[Any] | None:
        return self._payload()[0]

    @property
    def kwargs(self) -> dict[str, Any] | None:
        return self._payload()[1]

    def _payload(self) -> tuple[list[Any] | None, dict[str, Any] | None]:
        record = self._find()
        if record is not None and not record.payload:  # as it was waited for, without large arguments
            record = self.app.storage.reader.find(self.id)
        if record is None:
            return None, None
        args, kwargs = self.app.content.read(record.payload, Owner(record.id, record.task))
        return args, kwargs

    @property
    def worker(self) -> str | None:
        """The name of the worker that runs it, or ran it last."""
        record = self._find()
        return None if record is None else record.worker

    @property
    def retries(self) -> int | None:
        record = self._find()
        return None if record is None else record.retries

    @property
    def queue(self) -> str | None:
        record = self._find()
        return None if record is None else record.queue

    @property
    def date_done(self) -> datetime | None:
        """When it finished, in UTC."""
        record = self._find()
        return from_ms(record.finished_ms) if record is not None and record.finished_ms is not None else None
