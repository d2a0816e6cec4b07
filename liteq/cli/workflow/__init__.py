"""`liteq workflow`: runs of durable workflows, looked at and acted upon. Each command in the file of its kind."""

from __future__ import annotations

from liteq.cli.workflow.acting import ACTING
from liteq.cli.workflow.bulk import BULK
from liteq.cli.workflow.group import workflow
from liteq.cli.workflow.looking import LOOKING
from liteq.cli.workflow.moving import MOVING
from liteq.cli.workflow.replay import replay

__all__ = ["workflow"]

for command in (*LOOKING, *ACTING, *BULK, *MOVING, replay):
    workflow.add_command(command)
