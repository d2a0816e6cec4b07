"""Durable workflows written as code: what their authors import. `@app.workflow` and `@app.step` are the app's.

from liteq.workflow import ctx   # in `async def` bodies: actx, the same names, awaited
"""

from __future__ import annotations

from liteq.workflow.actx import actx
from liteq.workflow.budgets import Budget, Usage
from liteq.workflow.context import ctx
from liteq.workflow.done import Done, NotDone
from liteq.workflow.flow import Workflow
from liteq.workflow.handles import Failure, Handle
from liteq.workflow.run import Run
from liteq.workflow.secret import Secret
from liteq.workflow.step import Step
from liteq.workflow.step_options import StepOptions
from liteq.workflow.waits import Approval

__all__ = [
    "Approval",
    "Budget",
    "Done",
    "Failure",
    "Handle",
    "NotDone",
    "Run",
    "Secret",
    "Step",
    "StepOptions",
    "Usage",
    "Workflow",
    "actx",
    "ctx",
]
