"""Runs of workflows in a pool: one lease to its outcome, and the fate of one whose process died."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from liteq.context import App
from liteq.exceptions import LeaseLost, StepTimeout, StorageError, WorkerLostError
from liteq.message import Flag, Lease, Outcome, Park, Release, StepRow, Suspend
from liteq.serialization import encode_error
from liteq.worker.pool.limits import SoftLimit, StepLimit, hold_back_in
from liteq.worker.pool.page import Page, StepNow
from liteq.worker.revoking import revoked_outcome

__all__ = ["GRACE_S", "Runs", "announce_outcome", "fingerprint_of", "flows_of", "lost_in_a_run", "timed_out"]

logger = logging.getLogger("liteq.worker")

GRACE_S = 5.0  # past its deadline, until the process of a step that does not yield is killed
PAUSE_MS = 500  # until a run is taken again that could not be executed because the file cannot be used


def fingerprint_of(app: App) -> str:
    """The fingerprint of the code that `app` runs here; to be asked for before a worker forks, of what it imported."""
    from liteq.workflow.history.code import fingerprint_of as found

    return found(app)


def announce_outcome(app: App, lease: Lease, outcome: Outcome) -> None:
    """Send the signal of a run's outcome, where there is one, and call the webhook."""
    from liteq.workflow.history.announce import announce

    announce(app, lease, outcome)


def flows_of(app: App) -> dict[str, Any]:
    """The workflows among the tasks of `app`, by name."""
    return {name: task for name, task in app.tasks.items() if getattr(task, "is_workflow", False)}


class Runs:
    """Executes runs in this process. `page`: shared with the parent; None: each thread has one of its own.

    Those of threads are made by `make_page`.
    """

    def __init__(
        self,
        app: App,
        hostname: str,
        page: Page | None = None,
        make_page: Callable[[], Page] = lambda: Page(shared=False),
    ) -> None:
        self._make_page = make_page
        self._app = app
        self._hostname = hostname
        self._page = page
        self._pages: dict[int, Page] = {}
        self._leaving = False
        self._ending: Callable[[], object] | None = None
        self._warned = False
        self._told: set[StepNow] = set()  # the steps that are overdue, and said to be

    def run(self, lease: Lease) -> tuple[Outcome, float]:
        """Execute `lease` until it ends, waits or is to be given back; its outcome, and for how many seconds it ran.

        A BaseException that is no Exception is raised: it ends this process. Time limits of tasks do not apply.
        """
        begun = time.perf_counter()
        late = lease.expires_ms is not None and self._app.clock.now_ms() >= lease.expires_ms
        if late and not lease.flags & Flag.HISTORY:
            return revoked_outcome(self._app, lease, self._hostname, terminated=False, expired=True), 0.0
        page = self._page or self._own_page()
        page.token = lease.token
        try:
            outcome = self._activate(lease, page)
        finally:
            page.clear()
        if type(outcome) is Park and outcome.state == "stuck":
            outcome.fingerprint = outcome.fingerprint or fingerprint_of(self._app)
        return outcome, time.perf_counter() - begun

    def _activate(self, lease: Lease, page: Page) -> Outcome:
        from liteq import workflow  # only where there is a run
        from liteq.workflow.activating.activation import activate

        hold_back_in(workflow.__name__)  # its context is between a step and its run's history
        limit = StepLimit if SoftLimit.available() else self._unenforced
        try:
            if not lease.payload:  # large ones are read here, as those of a task
                lease = self._app.storage.reader.with_payload(lease)
            app, leaving = self._app.of_task, page.leaving
            return activate(app, lease, hostname=self._hostname, page=page, stop=leaving, limit=limit)
        except LeaseLost as exc:
            logger.warning("%s[%s] is not begun: %s", lease.task, lease.id, exc)
            return Release()  # it is thrown away
        except StorageError as exc:
            logger.warning("%s[%s] is handed back: %s", lease.task, lease.id, exc)
            return Release(pause_ms=PAUSE_MS, options=lease.options)
        except Exception as exc:  # it waits for somebody to look at it: the run is whole, and goes on from there
            logger.exception("%s[%s] cannot be executed", lease.task, lease.id)
            return Park("stuck", encode_error(exc))

    def _unenforced(self, _seconds: float) -> AbstractContextManager[None]:
        if not self._warned:
            self._warned = True
            logger.warning("timeouts of steps that do not await need the prefork or solo pool: not enforced")
        return nullcontext()

    def _own_page(self) -> Page:
        page = self._pages.get(threading.get_ident())
        if page is None:
            page = self._pages[threading.get_ident()] = self._make_page()
            if self._leaving:
                page.leave()
        return page

    def leaving(self) -> object:
        """Whether what is executed here is to give its lease back where it can."""
        if self._page is not None:
            return self._page.leaving()
        return self._leaving or (self._ending is not None and self._ending())

    def ask(self, ending: Callable[[], object]) -> None:
        """Ask `ending` too whether the worker ends: of a pool whose loop cannot tell while it executes."""
        self._ending = ending

    # -- from the worker's loop, of a pool that executes in this process -----------------------------------------------

    def leave(self) -> None:
        """Have each run give its lease back after the step in progress."""
        self._leaving = True
        for page in list(self._pages.values()):
            page.leave()

    def steps(self) -> list[StepNow]:
        """The steps that are executed in this process now."""
        return [step for page in list(self._pages.values()) for step in page.steps()]

    def tell_overdue(self, now: float, pool: str) -> None:
        """Say of each step that is `GRACE_S` past its deadline that nothing ends it: `pool` has no process to kill."""
        overdue = {
            step: now - step.deadline for step in self.steps() if step.deadline and now >= step.deadline + GRACE_S
        }
        for step in overdue.keys() - self._told:
            text = "Step %s (attempt %d) is %.0f s past its timeout and does not yield; %s: it goes on until it returns"
            why = f"the pool {pool!r} cannot end it, as prefork would"
            logger.error(text, step.name, step.attempt, overdue[step], why)
        self._told = set(overdue)


# -- in the parent ---------------------------------------------------------------------------------------------------


def lost_in_a_run(lease: Lease, steps: list[StepNow], end: str) -> Outcome:
    """The outcome of a run whose process ended, in words `end`, while it executed `steps`.

    It goes on from its last step; where it does not get beyond that step, `max_crashes` times.
    """
    inside = " and ".join(repr(step.name) for step in steps)
    where = f"in step {inside}" if inside else "between two steps"
    exc = WorkerLostError(f"the process that ran {lease.task}[{lease.id}] {end}, {where}")
    about = {"task_name": lease.task, "task_id": lease.id}
    logger.error("%s; it goes on from its last step, unless that was once too often", exc.args[0], extra=about)
    return Release(crashed=True, error=encode_error(exc))


def timed_out(step: StepNow, now_ms: int) -> Outcome:
    """The outcome of a run whose process was killed for `step`: one attempt of that has failed, and nobody crashed.

    The next activation decides whether there is another attempt.
    """
    exc = StepTimeout(f"step {step.name!r} ran past its timeout and did not yield: its process was killed")
    if not step.whole:  # its place is not known to the letter
        return Release(crashed=True, error=encode_error(exc))
    began_ms = now_ms - int((time.monotonic() - step.started) * 1000)
    row = StepRow(
        step.scope, step.pos, "step", step.name, key=step.key, arghash=step.arghash, attempts=step.attempt,
        error=encode_error(exc), started_ms=began_ms,
    )  # fmt: skip
    return Suspend([row], due_ms=now_ms)
