"""Celery's result backend on a liteq file: the row of a task is its result.

State, result, error, retries, worker and times are columns of the row that the task was. What a task's process stores
as its end settles the lease: result, acknowledgement and what comes next are one transaction, under the fencing token.
An outcome that comes after its lease is over is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from celery import Celery, group, signals, states
from celery.backends.base import Backend, SyncBackendMixin
from celery.exceptions import ChordError, NotRegistered, TimeoutError
from celery.result import result_from_tuple

from liteq.exceptions import LiteqError, StorageError
from liteq.message import Ack, Cancel, DeadLetter, Flag
from liteq.serialization import decode, decode_error, encode
from liteq.states import State
from liteq.storage.groups.ended import Ended
from liteq.storage.rows.results import Ending
from liteq_kombu.chords import is_plain, open_chord
from liteq_kombu.documents import error_document, meta_of, read_value, value_document
from liteq_kombu.files import File, files, open_file
from liteq_kombu.options import options_of
from liteq_kombu.replacing import close
from liteq_kombu.running import RUN, Run, ending, ending_here, note_end, run_of
from liteq_kombu.telling import add_tell, called_by_rows, left_to_row, watch, with_bodies
from liteq_kombu.waking import rings, states_told

__all__ = ["LiteqBackend"]

FINAL = {states.SUCCESS: State.SUCCEEDED, states.FAILURE: State.DEAD, states.REVOKED: State.CANCELLED}


class LiteqBackend(SyncBackendMixin, Backend):
    """Results in the file of the URL, beside or apart from the queue."""

    persistent = True
    supports_native_join = True
    supports_autoexpire = True
    supports_result_compression = True
    supports_failure_expires = True

    def __init__(self, app: Celery, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app, url=url, **kwargs)
        given = app.conf.get("result_backend_transport_options") or {}
        broker = dict(app.conf.get("broker_transport_options") or {})
        own = {name: given[name] for name in ("durability",) if name in given}
        self.file: File = open_file(url or "", options_of({**broker, **own}))
        self.file.results = True
        self.file.result_expires_s = self.prepare_expires(self.expires, float)  # also of text, as on Redis
        if (failures := app.conf.get("result_failure_expires")) is not None:
            self.file.dead_expires_s = self.prepare_expires(failures, float)
        watch(app.loader)
        add_tell(app)
        self.file.app = app

    @property
    def storage(self) -> Any:
        """The storage of the file, which is made where it is not there."""
        self.file.ready()
        return self.file.storage

    def as_uri(self, include_password: bool = False) -> str:
        """The URL: there is no password in it."""
        return str(self.url)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether the same write may succeed later."""
        return isinstance(exc, (StorageError, OSError))

    # -- the end of a task -------------------------------------------------------------------------------------------

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        """Store the result; for the task that runs here that is its acknowledgement, too."""
        run = self._run(task_id, request)
        with ending(run, state):
            super().mark_as_done(task_id, result, request=request, store_result=store_result, state=state)
            # Somebody takes the result, though no reader may.
            if run is not None and run.lease.flags & Flag.LINKED and run.outcome is None:
                self.store_result(task_id, result, state, request=request)
        if run is not None:
            run.settle(Ack())

    def mark_as_failure(
        self, task_id: str, exc: Any, traceback: str | None = None, request: Any = None, store_result: bool = True,
        call_errbacks: bool = True, state: str = states.FAILURE,
    ) -> None:  # fmt: skip
        """Store the error, and call errbacks; what was to come after the task has failed with it."""
        run = self._run(task_id, request)
        with ending(run, state), left_to_row(run, request), with_bodies(request):
            super().mark_as_failure(
                task_id, exc, traceback=traceback, request=request, store_result=store_result,
                call_errbacks=call_errbacks, state=state,
            )  # fmt: skip
        if run is not None:
            run.settle(DeadLetter(error_document(exc, traceback)))

    def _call_task_errbacks(self, request: Any, exc: Any, traceback: Any) -> None:
        run = ending_here(self.file)
        if run is None or request.id not in (run.lease.id, run.telling) or not self.broker_is_here:
            super()._call_task_errbacks(request, exc, traceback)
            return
        try:
            others = called_by_rows(run, request, self.app)
        except (TypeError, ValueError):  # as those of pickle: they are called here, as by Celery
            super()._call_task_errbacks(request, exc, traceback)
            return
        if others:
            root_id = request.root_id or request.id
            group(others, app=self.app).apply_async((request.id,), parent_id=request.id, root_id=root_id)

    def mark_as_revoked(
        self, task_id: str, reason: str = "", request: Any = None, store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:  # fmt: skip
        """Store that the task was revoked."""
        run = self._run(task_id, request)
        with ending(run, state):
            super().mark_as_revoked(task_id, reason, request=request, store_result=store_result, state=state)
        if run is not None:
            run.settle(Cancel())

    def mark_as_retry(
        self, task_id: str, exc: Any, traceback: str | None = None, request: Any = None, store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:  # fmt: skip
        """Store why the task runs again."""
        run = self._run(task_id, request)
        with ending(run, state):
            stored = super().mark_as_retry(
                task_id, exc, traceback=traceback, request=request, store_result=store_result, state=state
            )
        if run is not None and run.again is not None:
            run.settle(DeadLetter(error_document(exc, traceback)))  # the error of the retry that it becomes
        return stored

    def _run(self, task_id: str, request: Any) -> Run | None:
        if request is None or getattr(request, "id", None) != task_id:
            return None
        return run_of(request, self.file)

    # -- results -----------------------------------------------------------------------------------------------------

    def encode_result(self, result: Any, state: str) -> Any:
        """Exceptions stay exceptions until they are a row's error document."""
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return result
        return self.prepare_value(result)

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        run = self._run(task_id, request)
        if run is not None:
            self._store_of_run(run, result, state, traceback, request)
        elif state in FINAL:
            self._store_end(task_id, result, state, traceback, request)
        else:
            self.storage.progress(task_id, self._progress(result, state))
        return result

    def _store_of_run(self, run: Run, result: Any, state: str, traceback: str | None, request: Any) -> None:
        """Note how the task has ended, where the tracer says so; else show what it says of itself."""
        if run is not ending_here(self.file) or run.ending != state or state not in FINAL:
            if run.again is None:
                run.progress(self._progress(result, state))
        elif state == states.SUCCESS:
            run.outcome = Ack(self._document(result), children=self._children(run, request))
        elif state == states.REVOKED:
            run.outcome = Cancel(error_document(result, traceback))
        else:
            run.outcome = DeadLetter(error_document(result, traceback))

    def _store_end(self, task_id: str, result: Any, state: str, traceback: str | None, request: Any) -> None:
        """The end of a task that no worker runs: one that was rejected, the rest of a broken chain."""
        error = None if state == states.SUCCESS else error_document(result, traceback)
        value = self._document(result) if state == states.SUCCESS else None
        task = getattr(request, "task", None) or ""
        broken = ending_here(self.file)
        if broken is not None and broken.telling == task_id:
            return
        if isinstance(result, NotRegistered) and self._is_unknown(task_id):
            return
        if (
            broken is not None
            and error is not None
            and request is not None
            and self.storage.reader.find(task_id) is None
        ):
            lease = broken.lease
            parent = broken.telling or lease.id  # the task that failed, also where a row tells of it
            broken.ended.append(Ended(task_id, error, task, root_id=lease.root_id or lease.id, parent_id=parent))
            return
        stored = self.storage.store_result(task_id, Ending(FINAL[state], task, result=value, error=error))
        if not stored and state == states.REVOKED:
            self.storage.cancel([task_id])

    def _is_unknown(self, task_id: str) -> bool:
        """Whether the row says so already: a message of a task that a worker does not have is rejected with that.

        Or it was left to another worker, and has not failed.
        """
        if task_id in self.file.left:
            self.file.left.remove(task_id)
            return True
        record = self.storage.reader.find(task_id)
        if record is None or record.state is not State.DEAD or record.error is None:
            return False
        return decode_error(record.error).type == NotRegistered.__name__

    def _behind(self, task_id: str) -> list[Any]:
        found = self.storage.reader.find_many(self.storage.reader.followers(task_id))
        return [self.app.AsyncResult(one.id).as_tuple() for one in found.values() if not one.flags & Flag.CALLBACK]

    def _children(self, run: Run, request: Any) -> bytes | None:
        """The results that a task has made while it ran, for those who ask its result for them."""
        children = self.current_task_children(request)
        if run.lease.flags & Flag.LINKED:  # the next link is a row already, and no call of the tracer's
            known = {one[0][0] for one in children or ()}
            children = [*(children or ()), *(one for one in self._behind(run.lease.id) if one[0][0] not in known)]
        return encode(children, what="the children of a task") if children else None

    def _document(self, value: Any) -> bytes:
        return value_document(value, self.serializer, getattr(self, "compression", None))

    def _progress(self, meta: Any, state: str) -> bytes:
        if isinstance(meta, BaseException):
            meta = super().encode_result(meta, state)
        try:
            return encode({"state": state, "meta": meta}, what="the state of a task")
        except LiteqError:
            return self._document({"state": state, "meta": meta})

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        return self.meta_of(self.storage.reader.find(str(task_id)))

    def meta_of(self, record: Any) -> dict[str, Any]:
        """The result document of a row that has been read; None: there is none."""
        meta = meta_of(
            record,
            read=lambda data: read_value(data, self.accept),
            to_python=self._to_python,
            extended=bool(self.app.conf.find_value_for_key("extended", "result")),
        )
        if meta["status"] == states.SUCCESS and (children := self.storage.reader.children(record.id)) is not None:
            meta["children"] = decode(children)
        return meta

    def _to_python(self, described: Any) -> Any:
        return self.exception_to_python(described)

    def _forget(self, task_id: str) -> None:
        self.storage.forget([task_id])

    def cleanup(self) -> None:
        """Delete what is older than `result_expires`, or a failure's time. Workers do so all the time."""
        file = self.file
        while self.storage.expire(result_expires_s=file.result_expires_s, dead_expires_s=file.dead_expires_s) >= 1_000:
            pass

    # -- waiting -----------------------------------------------------------------------------------------------------

    def wait_for_pending(
        self, result: Any, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None, on_interval: Callable[[], Any] | None = None,
        callback: Callable[[str, Any], Any] | None = None, propagate: bool = True,
    ) -> Any:  # fmt: skip
        """As `wait_for`, of what `result.get()` waits for. Raises the task's exception, with `propagate`."""
        result._maybe_set_cache(self.wait_for(result.id, timeout, interval, no_ack, on_interval, on_message))
        return result.maybe_throw(propagate=propagate, callback=callback)

    def wait_for(
        self, task_id: str, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_interval: Callable[[], Any] | None = None, on_message: Callable[[Any], Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The result document of a task once it has ended. Raises TimeoutError after `timeout` seconds.

        `on_message` is called with the document of each state that is seen. A failure that came from a parent ended
        both at once: `on_interval` raises the parent's own error first.
        """
        self._ensure_not_eager()
        tell = None if on_message is None else states_told(self, task_id, on_message)
        for _ in rings(self.storage, timeout, interval, on_interval):
            meta = self.get_task_meta(task_id)
            if tell is not None:
                tell()
            if meta["status"] in states.READY_STATES:
                if on_interval is not None and meta["status"] in states.PROPAGATE_STATES:
                    on_interval()
                return dict(meta)
        raise TimeoutError("The operation timed out.")

    def get_many(
        self, task_ids: Iterable[str], timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None, on_interval: Callable[[], Any] | None = None,
        max_iterations: int | None = None, READY_STATES: frozenset[str] = states.READY_STATES,  # noqa: N803
    ) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
        """(id, result document) of each as it ends. Raises TimeoutError after `timeout` seconds."""
        waiting = dict.fromkeys(task_ids)
        for rounds, _ in enumerate(rings(self.storage, timeout, interval, on_interval), 1):
            for record in self._ended(list(waiting)):
                meta = self.meta_of(record)
                if meta["status"] in READY_STATES:
                    del waiting[record.id]
                    if meta["status"] == states.SUCCESS:
                        self._cache[record.id] = meta
                    if on_message is not None:
                        on_message(meta)
                    yield record.id, meta
            if not waiting or rounds == max_iterations:
                return
        raise TimeoutError(f"Operation timed out ({timeout})")

    def _ended(self, ids: list[str]) -> list[Any]:
        return list(self.storage.reader.find_finished(ids, shown=True).values())

    # -- groups ------------------------------------------------------------------------------------------------------

    def _save_group(self, group_id: str, result: Any) -> Any:
        self.storage.saved_groups.save(group_id, encode(result.as_tuple(), what=f"the group {group_id}"))
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        saved = self.storage.saved_groups.load(group_id)
        described = None if saved is None else decode(saved)  # None also where liteq's GroupResult was deleted
        return described and {"result": result_from_tuple(described, self.app), "task_id": group_id}

    def _delete_group(self, group_id: str) -> None:
        self.storage.saved_groups.delete(group_id)

    # -- chords ------------------------------------------------------------------------------------------------------

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Open the group of a chord that is about to be sent, and write its body behind it."""
        group_id, results = header_result_args
        if self.broker_is_here and is_plain(self.app.conf, self):
            self.file.ready()
            open_chord(self.file, self.app, group_id, results, body)
        else:  # rows cannot take what is no JSON
            super().apply_chord(header_result_args, body, **kwargs)

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Say that the last member of a chord is about to be sent. Their places say how many there are."""
        if self.broker_is_here:
            close(self.file, group_id, chord_size)

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Have a chord wait for one more task. Raises ChordError where it has ended, or its results are no JSON."""
        if not self.storage.groups.expect(chord_id, [result.id]):
            raise ChordError(f"the chord {chord_id} has ended, or is none of liteq's: it takes no more tasks")

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        """Do nothing: the row of a member counts itself in its group as it ends."""

    @property
    def broker_is_here(self) -> bool:
        """Whether tasks are sent to the file that keeps the results."""
        return self.file.is_at(self.app.conf.broker_write_url or self.app.conf.broker_url)

    def __reduce__(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        return super().__reduce__(args, {**(kwargs or {}), "url": self.url})


# -- a task's end, in the process that runs it -------------------------------------------------------------------------


@signals.task_prerun.connect(weak=False)
def on_prerun(task: Any, **_: Any) -> None:
    """Note that a task begins. One that was acknowledged before never runs twice, and its loss is told."""
    for run in _runs(task.request):
        run.started = True
        if not task.acks_late:
            run.begin()


@signals.task_postrun.connect(weak=False)
def on_postrun(task: Any, state: str | None = None, retval: Any = None, **_: Any) -> None:
    """Settle an execution of which nothing was stored."""
    for run in _runs(task.request):
        if not run.settled:
            note_end(run, task, state, retval)


def _runs(request: Any) -> list[Run]:
    """The execution of `request`, if it is under a lease of a file that keeps its result, too."""
    found = getattr(request, RUN, None)
    runs = [found] if found is not None else [run_of(request, file) for file in list(files.values())]
    return [run for run in runs if run is not None and run.file.results]
