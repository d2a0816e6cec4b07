"""Durable workflows written as code: what their authors import. `@app.workflow` and `@app.step` are the app's.

from liteq.workflow import ctx   # in `async def` bodies: actx, the same names, awaited
"""

from __future__ import annotations

from liteq.workflow.actx import actx
from liteq.workflow.calling.handles import Failure, Handle
from liteq.workflow.calling.waits import Approval
from liteq.workflow.client.run import Run
from liteq.workflow.context import ctx
from liteq.workflow.declared.budgets import Budget, Usage
from liteq.workflow.declared.done import Done, NotDone
from liteq.workflow.declared.step import Step
from liteq.workflow.declared.step_options import StepOptions
from liteq.workflow.flow import Workflow
from liteq.workflow.secret import Secret

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
