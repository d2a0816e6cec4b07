"""`app.backend`, for code that asks Celery's result backend: the rows are in the storage, this only reads them."""

from __future__ import annotations

from typing import Any

from liteq import states
from liteq.context import App, Request
from liteq.exceptions import TaskRevokedError
from liteq.result import AsyncResult, GroupResult
from liteq.serialization import encode, encode_error
from liteq.serialization.failures import meta_of_exception
from liteq.settings.schemes import without_password
from liteq.states import State
from liteq.storage.rows.results import Ending

__all__ = ["Backend"]


ENDS = {
    states.SUCCESS: State.SUCCEEDED,
    states.FAILURE: State.DEAD,
    states.REVOKED: State.CANCELLED,
}


def _as_exception(value: Any) -> BaseException:
    return value if isinstance(value, BaseException) else RuntimeError(value)


def _as_meta(exc: BaseException, state: str) -> Any:
    return meta_of_exception(exc) if state in states.EXCEPTION_STATES else repr(exc)


class Backend:
    """Celery's result backend: its questions, by task id."""

    supports_autoexpire = True
    supports_native_join = True
    persistent = True

    def __init__(self, app: App) -> None:
        self.app = app

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """status, result, traceback, date_done, name, args, ... of a task."""
        return AsyncResult(task_id, app=self.app)._get_task_meta()

    def get_state(self, task_id: str) -> str:
        return AsyncResult(task_id, app=self.app).state

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        return AsyncResult(task_id, app=self.app).result

    def get_traceback(self, task_id: str) -> str | None:
        return AsyncResult(task_id, app=self.app).traceback

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **_kwargs: Any
    ) -> Any:
        """Store how a task ended that no worker runs, under any id, or show `state` while it is in a queue or runs.

        Its own end takes the place of the state that was shown. `result` is an exception where `state` is FAILURE
        or REVOKED. Returns `result`; raises NotSerializable, PayloadTooLarge.
        """
        stored = False
        if state in ENDS:
            failed = state != states.SUCCESS
            stamps = request.stamping() if isinstance(request, Request) else None
            ending = Ending(
                ENDS[state],
                task=str(getattr(request, "task", None) or ""),
                result=None if failed else self._encoded(result, f"the result of {task_id}"),
                error=encode_error(_as_exception(result), traceback or "") if failed else None,
                options=encode(stamps, what=f"the stamps of {task_id}") if stamps else None,
            )
            stored = self.app.storage.store_result(task_id, ending)
        if not stored:
            shown = _as_meta(result, state) if isinstance(result, BaseException) else result
            self.app.storage.progress(
                task_id, self._encoded({"state": state, "meta": shown}, f"the state of {task_id}")
            )
        return result

    def _encoded(self, value: Any, what: str) -> bytes:
        """`value` within the limits of a task's result."""
        conf = self.app.conf
        limit, depth = conf.max_result_bytes, conf.max_nesting
        return encode(value, what=what, limit=limit, setting="max_result_bytes", max_depth=depth)

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """Show STARTED."""
        return self.store_result(task_id, meta, states.STARTED)

    # With store_result=False Celery only calls the callbacks; here these are rows, which run by themselves.

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        """Store that it succeeded."""
        if store_result:
            self.store_result(task_id, result, state, request=request)

    def mark_as_failure(
        self, task_id: str, exc: BaseException, traceback: str | None = None, request: Any = None,
        store_result: bool = True, call_errbacks: bool = True, state: str = states.FAILURE,
    ) -> None:  # fmt: skip
        """Store that it failed."""
        if store_result:
            self.store_result(task_id, exc, state, traceback, request)

    def mark_as_revoked(
        self, task_id: str, reason: str = "", request: Any = None, store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:  # fmt: skip
        """Store that it was revoked."""
        if store_result:
            self.store_result(task_id, TaskRevokedError(reason), state, request=request)

    def mark_as_retry(
        self, task_id: str, exc: BaseException, traceback: str | None = None, request: Any = None,
        store_result: bool = True, state: str = states.RETRY,
    ) -> Any:  # fmt: skip
        """Show that it is to run again."""
        return self.store_result(task_id, exc, state, traceback, request) if store_result else None

    def forget(self, task_id: str) -> None:
        """Delete a finished task from the file."""
        self.app.storage.forget([task_id])

    def wait_for(self, task_id: str, timeout: float | None = None, **options: Any) -> Any:
        """Wait until it is over; its meta, as `get_task_meta` tells it. Raises TimeoutError after `timeout` seconds."""
        AsyncResult(task_id, app=self.app).get(timeout, False, disable_sync_subtasks=False, **options)
        return self.get_task_meta(task_id)

    def restore_group(self, group_id: str, cache: bool = True) -> GroupResult | None:
        return GroupResult.restore(group_id, app=self.app)

    def ensure_chords_allowed(self) -> None:
        """Chords always are."""

    def cleanup(self) -> None:
        """Delete what has expired."""
        conf = self.app.conf
        self.app.storage.expire(result_expires_s=conf.result_expires, dead_expires_s=conf.dead_expires)

    def process_cleanup(self) -> None:
        """Nothing is left behind by a task."""

    def as_uri(self, include_password: bool = False) -> str:
        """Where the results live, with stars in the place of a password."""
        url = str(self.app.broker_url)
        return url if include_password else without_password(url)
