"""Waiting, for integration tests, as `celery.contrib.testing.manager` offers it."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from liteq import states
from liteq.context import App
from liteq.exceptions import StorageError, TimeoutError
from liteq.result import ResultSet
from liteq_celery.utils.functional import retry_over_time
from liteq_celery.utils.time import humanize_seconds

__all__ = ["Manager", "ManagerMixin", "Sentinel"]


class Sentinel(Exception):
    """Raised inside of `wait_for` as long as something is not yet so."""


class ManagerMixin:
    """Asks the workers of `app` until something is so."""

    app: App

    def _init_manager(
        self,
        block_timeout: float = 1800.0,
        no_join: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.connerrors: tuple[type[Exception], ...] = self.app.connection().recoverable_connection_errors
        self.block_timeout = block_timeout
        self.no_join = no_join

    def remark(self, s: str, sep: str = "-") -> None:
        """Print a line."""
        print(f"{sep}{s}", file=self.stdout)

    def warn(self, s: str) -> None:
        """Print a line to stderr."""
        self.stderr.write(s + "\n")

    def retry_over_time(self, *args: Any, **kwargs: Any) -> Any:
        """See `liteq_celery.utils.functional.retry_over_time`."""
        return retry_over_time(*args, **kwargs)

    def wait_for(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        errback: Callable[[BaseException, float, int], object] | None = None,
        max_retries: int | None = 10,
        interval_start: float = 0.1,
        interval_step: float = 0.5,
        interval_max: float = 5.0,
        emit_warning: bool = False,
        **options: Any,
    ) -> Any:
        """Call `fun` until it raises no `catch`, with growing pauses (seconds); its result. Raises the last error."""

        def on_error(exc: BaseException, intervals: Iterator[float], retries: int) -> float:
            pause_s = next(intervals)
            if emit_warning:
                when = humanize_seconds(pause_s, "in", " ", microseconds=True)
                self.warn(f"Still waiting for {desc}.  Trying again {when}: {exc!r}")
            if errback is not None:
                errback(exc, pause_s, retries)
            return pause_s

        return self.retry_over_time(
            fun, catch, args=args, kwargs=kwargs, errback=on_error, max_retries=max_retries,
            interval_start=interval_start, interval_step=interval_step, interval_max=interval_max, **options,
        )  # fmt: skip

    def ensure_not_for_a_while(
        self, fun: Callable[..., Any], catch: Any, desc: str = "thing", max_retries: int = 20,
        interval_start: float = 0.1, interval_step: float = 0.02, interval_max: float = 1.0,
        emit_warning: bool = False, **_options: Any,
    ) -> None:  # fmt: skip
        """Raises AssertionError as soon as `fun` no longer raises `catch`."""
        try:
            self.wait_for(
                fun, catch, desc=desc, max_retries=max_retries, interval_start=interval_start,
                interval_step=interval_step, interval_max=interval_max, emit_warning=emit_warning,
            )  # fmt: skip
        except catch:
            return
        raise AssertionError(f"Should not have happened: {desc}")

    # -- results

    def missing_results(self, r: Iterable[Any]) -> list[str]:
        """The ids of those that have not finished."""
        return [result.id for result in r if not result.ready()]

    def join(self, r: Any, propagate: bool = False, max_retries: int = 10, **kwargs: Any) -> Any:
        """`r.get()`, tried up to `max_retries` times. Raises AssertionError when it never came."""
        if self.no_join:
            return None
        results = r if isinstance(r, ResultSet) else self.app.ResultSet([r])
        for _ in range(max_retries):
            try:
                return results.get(propagate=propagate, **kwargs)
            except (TimeoutError, StorageError) as exc:
                waiting = ", ".join(self.missing_results(results))
                self.remark(f"Still waiting for {waiting:.100}: {exc!r}", "!")
        raise AssertionError("Test failed: Missing task results")

    # -- workers

    def inspect(self, timeout: float = 3.0) -> Any:
        """`app.control.inspect()`."""
        return self.app.control.inspect(timeout=timeout)

    def query_tasks(self, ids: Iterable[str], timeout: float = 0.5) -> Iterator[tuple[str, Any]]:
        """(worker, those of `ids` that it holds)."""
        yield from (self.inspect(timeout).query_task(*ids) or {}).items()

    def query_task_states(self, ids: Iterable[str], timeout: float = 0.5) -> dict[str, set[str]]:
        """The ids by their state on workers: active, reserved."""
        found: dict[str, set[str]] = defaultdict(set)
        for _, answer in self.query_tasks(ids, timeout):
            for task_id, (state, _) in answer.items():
                found[state].add(task_id)
        return found

    def assert_accepted(
        self, ids: Iterable[str], interval: float = 0.5, desc: str = "waiting for tasks to be accepted", **policy: Any
    ) -> Any:
        """Wait until all of `ids` run or have run."""
        return self.assert_task_worker_state(self.is_accepted, ids, interval=interval, desc=desc, **policy)

    def assert_received(
        self, ids: Iterable[str], interval: float = 0.5, desc: str = "waiting for tasks to be received", **policy: Any
    ) -> Any:
        """Wait until workers have all of `ids`."""
        return self.assert_task_worker_state(self.is_received, ids, interval=interval, desc=desc, **policy)

    def assert_result_tasks_in_progress_or_completed(
        self, async_results: Iterable[Any], interval: float = 0.5,
        desc: str = "waiting for tasks to be started or completed", **policy: Any,
    ) -> Any:  # fmt: skip
        """Wait until all of `async_results` are STARTED or SUCCESS."""
        return self.assert_task_state_from_result(
            self.is_result_task_in_progress, async_results, interval=interval, desc=desc, **policy
        )

    def assert_task_state_from_result(
        self, fun: Callable[..., Any], results: Iterable[Any], interval: float = 0.5, **policy: Any
    ) -> Any:
        """Wait until `fun(results)` is true."""
        return self.wait_for(lambda: self.true_or_raise(fun, results, timeout=interval), (Sentinel,), **policy)

    assert_task_worker_state = assert_task_state_from_result

    @staticmethod
    def is_result_task_in_progress(results: Iterable[Any], **_kwargs: Any) -> bool:
        """Whether all are STARTED or SUCCESS."""
        return all(result.state in (states.STARTED, states.SUCCESS) for result in results)

    def is_received(self, ids: Iterable[str], **kwargs: Any) -> bool:
        """Whether workers have all of `ids`."""
        return self._are(ids, ("reserved", "active", "ready"), **kwargs)

    def is_accepted(self, ids: Iterable[str], **kwargs: Any) -> bool:
        """Whether workers run all of `ids`, or have."""
        return self._are(ids, ("active", "ready"), **kwargs)

    def _are(self, ids: Iterable[str], wanted: Iterable[str], timeout: float = 0.5) -> bool:
        """A task that has finished is in no worker any more: the file tells of it."""
        ids = list(ids)
        found = self.query_task_states(ids, timeout=timeout)
        there = set().union(*(found[state] for state in wanted))
        return all(id_ in there or self.app.AsyncResult(id_).ready() for id_ in ids)

    def true_or_raise(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`fun(...)`. Raises Sentinel when that is false."""
        found = fun(*args, **kwargs)
        if not found:
            raise Sentinel
        return found

    def wait_until_idle(self) -> None:
        """Purge the queues, and wait until no worker runs anything."""
        while self.app.control.purge():
            pass
        while any((self.app.control.inspect().active() or {}).values()):
            time.sleep(0.01)


class Manager(ManagerMixin):
    """`Manager(app)`."""

    def __init__(self, app: App, **kwargs: Any) -> None:
        self.app = app
        self._init_manager(**kwargs)
