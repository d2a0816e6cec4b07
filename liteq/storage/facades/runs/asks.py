"""Runs, by people and programs that ask something of them; one transaction a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.housekeeping.retention import BEGINNING, Walk
from liteq.storage.runs import again as _again
from liteq.storage.runs import asks as _asks
from liteq.storage.runs import memo as _memo
from liteq.storage.runs import retention as _retention
from liteq.storage.runs import starting as _starting
from liteq.storage.runs import terminating as _terminating
from liteq.storage.runs import transfer as _transfer

__all__ = ["RunAsks"]


class RunAsks(Facade):
    """Runs, by those who ask something of them. RunNotFound: no run of that id is known."""

    def send(self, run_id: str, name: str, payload: bytes, *, dedup: str | None = None) -> bool:
        """Send an event to a run, also to one that is yet to be started; False where `dedup` was there before.

        Raises RunEnded.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            new, woke = _starting.send(tx, run_id, name, payload, dedup=dedup, now_ms=self._clock.now_ms())
        self._ring(work=woke)
        return new

    def approve(
        self, run_id: str, title: str, *, ok: bool, by: str | None, comment: str, data: bytes | None,
        check: Callable[[bytes | None], None] | None = None,
    ) -> bool:  # fmt: skip
        """Decide the oldest open approval of `title`: True. The same decision (ok, data) again: False.

        The row's output is then JSON of ok, by, comment, data, at (ms). `check` is called with the request's details
        before that, and may raise. Raises AlreadyDecided, NoSuchApproval, RunNotFound.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            decided, woke = _asks.approve(
                tx, run_id, title, ok=ok, by=by, comment=comment, data=data, check=check, now_ms=now_ms
            )
        self._ring(done=decided, work=woke)
        return decided

    def cancel(self, ids: Sequence[str], *, reason: str = "") -> list[str]:
        """Ask runs to end: sagas and shields run. One that has not begun ends at once. Those that had not ended."""
        with self._driver.write(Promise.REMOVED) as tx:
            alive = _asks.cancel(tx, ids, reason=reason, now_ms=self._clock.now_ms())
        self._ring(done=bool(alive), work=bool(alive))
        return alive

    def terminate(self, ids: Sequence[str], *, reason: str = "") -> list[tuple[str, int | None]]:
        """End runs at once; those that had not ended, with the token of the lease of each that a process executes."""
        ended = []
        with self._driver.write(Promise.REMOVED) as tx:
            for id_ in ids:
                alive, token = _terminating.terminate(tx, id_, reason=reason, now_ms=self._clock.now_ms())
                if alive:
                    ended.append((id_, token))
        self._ring(done=bool(ended), work=bool(ended))
        return ended

    def pause(self, run_id: str) -> bool:
        """Stop a run after its step in progress; False where it has ended. Raises RunNotFound."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _asks.pause(tx, run_id, now_ms=self._clock.now_ms())

    def resume(self, run_id: str) -> bool:
        """Let a paused or stuck run go on; False where it is neither. Raises RunNotFound."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            resumed = _asks.resume(tx, run_id, now_ms=self._clock.now_ms())
        self._ring(work=resumed)
        return resumed

    def retry(self, run_id: str) -> bool:
        """Let a failed run go on at the step that failed; False where it has not failed.

        Raises RunNotFound, and WorkflowError where it has undone its steps.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            again = _again.retry(tx, run_id, now_ms=self._clock.now_ms())
        self._ring(work=again)
        return again

    def fork(self, run_id: str, before: int, *, new: str) -> str:
        """Start a run under the id `new` with the steps before number `before` of another; its id.

        Raises RunNotFound, RunConflict, ValueError, WorkflowError.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            id_ = _again.fork(tx, run_id, before, new=new, now_ms=self._clock.now_ms())
        self._ring(work=True)
        return id_

    def rewind(self, run_id: str, before: int) -> None:
        """Let a run go on behind the steps before number `before`.

        Raises RunNotFound, and WorkflowError for one that runs, or whose end a chain, chord or parent has taken.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            _again.rewind(tx, run_id, before, now_ms=self._clock.now_ms())
        self._ring(work=True)

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def expire(self, expires_s: float | None, *, limit: int = 1_000) -> int:
        """Delete a chunk of what is over: runs that ended longer ago than `expires_s` (None or 0: none), old
        generations, memos, events that no run took; how many rows. Fewer than `limit`: there is nothing more.
        """
        now_ms = self._clock.now_ms()
        before_ms = now_ms - int(expires_s * 1000) if expires_s else None
        gone, round_ = 0, set[Walk]()
        while not gone and len(round_) < len(self._walks):  # a look at some thousand messages is one transaction
            with self._driver.write(Promise.PROGRESS) as tx:
                gone = _retention.expire(tx, *self._walks, before_ms=before_ms, now_ms=now_ms, limit=limit)
            round_.update(walk for walk in self._walks if before_ms is None or walk.after_ms == BEGINNING)
        return gone

    @cached_property
    def _walks(self) -> tuple[Walk, Walk]:
        return Walk(dead=False), Walk(dead=True)

    def delete(self, ids: Sequence[str], *, limit: int = 1_000) -> int:
        """Delete ended runs with all that belongs to them, in chunks of `limit` rows; how many runs."""
        runs = 0
        while True:
            with self._driver.write(Promise.REMOVED) as tx:
                gone, ended = _retention.empty(tx, ids, limit=limit)
            runs += ended
            if gone < limit:
                return runs

    def bring(self, document: Mapping[str, Any]) -> str:
        """Write an exported run, stuck where it had not ended; its id. Raises RunConflict where the id is in use."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _transfer.bring(tx, document, now_ms=self._clock.now_ms())

    def clear_memo(self, name: str | None = None, *, scope: str | None = None, older_s: float | None = None) -> int:
        """Forget results of the memo: of a step, of a tag, computed longer ago than that, or of all; how many."""
        before_ms = None if older_s is None else self._clock.now_ms() - int(older_s * 1000)
        with self._driver.write(Promise.REMOVED) as tx:
            return _memo.clear(tx, name=name, scope=scope, before_ms=before_ms)
