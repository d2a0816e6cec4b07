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


class BudgetExceeded(WorkflowError):
    """Raised in a body before the step that would break the budget of its run, or of one that its tags name."""


class StepInDoubt(WorkflowError):
    """Raised in a body for a step that was begun, and of which nobody could tell whether it was done.

    `step` is its name, `step_key` the key that it had for others, `attempt` how often it was begun.
    """

    def __init__(self, step: str = "", step_key: str = "", attempt: int = 1, reason: str = "") -> None:
        super().__init__(step, step_key, attempt, reason)
        self.step = step
        self.step_key = step_key
        self.attempt = attempt
        self.reason = reason

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return (
            f"the step {self.step!r} ({self.step_key}) was begun, its process is gone, and whether its effect is there "
            f"is not known{why}"
        )


class AgentStalled(WorkflowError):
    """Raised where an agent calls the same tool with the same arguments, and gets the same result, again and again."""


class NotRecorded(WorkflowError):
    """Raised by `WorkflowTest.run` for a step that its recording does not hold (`liteq.testing.NotRecorded`)."""


class RunCancelled(TaskRevokedError):
    """Raised by `result()` of a run that was cancelled or terminated; its text is the reason."""


class WorkflowCancelled(BaseException):
    """Raised in the body of a run that was cancelled: let it through. Sagas and shields run on the way."""


class DeterminismWarning(UserWarning):
    """A workflow's body calls something that a replay may answer otherwise."""
