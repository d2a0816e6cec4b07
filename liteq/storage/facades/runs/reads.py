"""Reading runs: one consistent snapshot a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq.storage.facades.base import Facade
from liteq.storage.runs import backlog as _backlog
from liteq.storage.runs import intents as _intents
from liteq.storage.runs import listing as _listing
from liteq.storage.runs import memo as _memo
from liteq.storage.runs import showing as _showing
from liteq.storage.runs import transfer as _transfer
from liteq.storage.runs.records import Approval, MemoEntry, MemoStats, RunRecord, RunStep, RunsWaiting

__all__ = ["RunReads"]

Page = list[RunRecord]


class RunReads(Facade):
    """Runs, by those who look at them."""

    def find(self, run_id: str) -> RunRecord | None:
        """The run of this id, with what it waits for; None where there is none."""
        with self._driver.read() as tx:
            return _listing.find(tx, run_id)

    def steps(self, run_id: str) -> list[RunStep]:
        """The steps of a run in the order in which they began, with what executes now. Raises RunNotFound."""
        with self._driver.read() as tx:
            return _listing.steps(tx, run_id)

    def approvals(self, run_id: str | None = None, *, limit: int = 1_000) -> list[Approval]:
        """The open approvals of a run, or (None) of all runs, the oldest first. Raises RunNotFound."""
        with self._driver.read() as tx:
            return _listing.approvals(tx, run_id, limit=limit)

    def in_doubt(self, *, limit: int = 1_000) -> list[str]:
        """The ids of runs, and of steps that were sent, of which a step is in doubt; the newest first."""
        with self._driver.read() as tx:
            return _intents.in_doubt(tx, limit=limit)

    def state(self, run_id: str) -> dict[str, bytes]:
        """The values that the run has set, by key."""
        with self._driver.read() as tx:
            return _showing.state(tx, run_id)

    def inbox(self, run_id: str, *, limit: int = 100) -> list[tuple[str, int]]:
        """The events that a run was sent and has not waited for yet: (name, when in ms)."""
        with self._driver.read() as tx:
            return _showing.inbox(tx, run_id, limit=limit)

    def waiting(self) -> RunsWaiting:
        """How many runs wait, are paused or stuck, and how many approvals are open; of each some thousand at most."""
        with self._driver.read() as tx:
            return _backlog.waiting(tx)

    def by_name(self, limit: int = 10_000) -> dict[tuple[str, str], int]:
        """How many unfinished runs there are, by workflow and state; `limit` rows of each state are looked at."""
        with self._driver.read() as tx:
            return _backlog.by_name(tx, limit=limit)

    def ended_steps(self, run: int, limit: int = 10_000) -> list[tuple[str, bool, int]]:
        """How many steps of the run of this row number have ended, by outcome and by whether the memo answered."""
        with self._driver.read(alone=True) as tx:
            return _backlog.ended_steps(tx, run, limit=limit)

    def needed_marks(self) -> list[tuple[str, str, str, int]]:
        """The needs of unfinished runs: (name of the workflow, "patch" or "version", its id, how many runs)."""
        with self._driver.read() as tx:
            return _listing.needed_marks(tx)

    def export(self, run_id: str) -> dict[str, Any]:
        """A run with its rows, as a document for `bring`; bytes are there as they are. Raises RunNotFound."""
        with self._driver.read() as tx:
            return _transfer.export(tx, run_id)

    def memo_stats(self) -> list[MemoStats]:
        """The content of the memo, by the name of the step."""
        with self._driver.read() as tx:
            return _memo.stats(tx)

    def memo_entries(
        self, *, name: str | None = None, scope: str | None = None, older_s: float | None = None, limit: int = 100
    ) -> list[MemoEntry]:
        """Results that the memo keeps, the newest first, without their outputs; of a step, of a tag, of that age."""
        with self._driver.read() as tx:
            before_ms = None if older_s is None else self._clock.now_ms() - int(older_s * 1000)
            return _memo.entries(tx, name=name, scope=scope, before_ms=before_ms, limit=limit)

    def memo_entry(self, key: str) -> MemoEntry | None:
        """The result that the memo keeps under `key`, with its output; None where there is none."""
        with self._driver.read() as tx:
            return _memo.entry(tx, key)

    def list(
        self, ids: Sequence[str] = (), *, name: str | None = None, status: str | None = None, tags: Sequence[str] = (),
        since_ms: int | None = None, limit: int = 100, after: str | None = None, waits: bool = False,
    ) -> Page:  # fmt: skip
        """Runs, the newest first: of these ids, or those that fit; those started before the run `after`.

        `waits`: each that does not execute with what it waits for, by two look-ups more. Raises ValueError for an
        unknown status, RunNotFound for an unknown `after`.
        """
        with self._driver.read() as tx:
            page = _listing.list_runs(
                tx, ids, name=name, status=status, tags=tags, since_ms=since_ms, limit=limit, after=after
            )
            if waits:
                page = [run if run.status == "running" else _listing.with_waits(tx, run) for run in page]
            return page
