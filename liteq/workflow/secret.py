"""`Secret`, as workflows know it: its value is read in steps, and never in a body, where it would come into history."""

from __future__ import annotations

from liteq.exceptions import WorkflowError
from liteq.serialization.secret import Secret, guards
from liteq.workflow.history.frames import here

__all__ = ["Secret"]


def _not_in_a_body(secret: Secret) -> None:
    if hasattr(here(), "branch"):
        raise WorkflowError(
            f"the secret {secret.name!r} is revealed in the body of a workflow, whose values get into history: "
            "pass the Secret itself to a step, and call reveal() there"
        )


guards.append(_not_in_a_body)
