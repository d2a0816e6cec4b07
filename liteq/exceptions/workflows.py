"""Errors of workflows and their runs."""

from __future__ import annotations

from liteq.exceptions.base import LiteqError
from liteq.exceptions.tasks import TaskRevokedError


class WorkflowError(LiteqError):
    """Base of what can go wrong with a workflow: a misuse, or one of those below. No step is retried for it."""


class RunConflict(WorkflowError):
    """Raised by `start()` where its id is that of another workflow's run, or of one with other input."""


class RunNotFound(WorkflowError, LookupError):
    """Raised for an id under which no run is known: it was never started here, or is forgotten."""


class RunEnded(WorkflowError):
    """Raised where something is sent to, or asked of, a run that has ended."""


class NonDeterminism(WorkflowError):
    """Raised where a body asks for something other than its history holds at that place: its code was changed.

    `position` is the place, `recorded` and `found` say in words what stands there and what the body asked for.
    """

    def __init__(self, position: str = "", recorded: str = "", found: str = "") -> None:
        super().__init__(position, recorded, found)
        self.position = position
        self.recorded = recorded
        self.found = found

    def __str__(self) -> str:
        return (
            f"at {self.position} history holds {self.recorded}, and the code asks for {self.found}: put new code "
            "behind `if ctx.patched(...)`, give the workflow a new version=, or deploy the old code again"
        )


class StepTimeout(WorkflowError):
    """Raised inside a step whose attempt takes longer than its `timeout`; retried as its other errors."""


class EventTimeout(WorkflowError):
    """Raised by `wait_event` where the event did not come in time and no default is given."""


class ApprovalTimeout(WorkflowError):
    """Raised by `approval` where nobody decided in time and no default is given."""


class AlreadyDecided(WorkflowError):
    """Raised by `approve` where the approval was decided otherwise: `ok`, `by` and `at` (ISO) tell by whom and when."""

    def __init__(self, ok: bool = False, by: str = "", at: str = "") -> None:
        super().__init__(ok, by, at)
        self.ok = ok
        self.by = by
        self.at = at

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        return f"it was {'approved' if self.ok else 'refused'}{by} at {self.at} already: nothing was changed"


class NoSuchApproval(WorkflowError):
    """Raised by `approve` where the run has asked for no approval of that title."""


class RunCancelled(TaskRevokedError):
    """Raised by `result()` of a run that was cancelled or terminated; its text is the reason."""


class WorkflowCancelled(BaseException):
    """Raised in the body of a run that was cancelled: let it through. Sagas and shields run on the way."""


class DeterminismWarning(UserWarning):
    """A workflow's body calls something that a replay may answer otherwise."""
