"""`app.backend`, for code that asks Celery's result backend: the rows are in the storage, this only reads them."""

from __future__ import annotations

from typing import Any

from liteq.result import AsyncResult, GroupResult

__all__ = ["Backend"]


class Backend:
    """What Celery's backends answer, by task id."""

    supports_autoexpire = True
    supports_native_join = True
    persistent = True

    def __init__(self, app: Any) -> None:
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

    def forget(self, task_id: str) -> None:
        """Delete a finished task from the file."""
        self.app.storage.forget([task_id])

    def wait_for(self, task_id: str, timeout: float | None = None, **options: Any) -> Any:
        return AsyncResult(task_id, app=self.app).get(timeout=timeout, propagate=False)

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

    def as_uri(self, include_password: bool = True) -> str:
        return str(self.app.broker_url)
