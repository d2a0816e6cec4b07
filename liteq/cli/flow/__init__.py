"""`liteq flow`: YAML files as runs. Each command in the file of its kind; what they do is in liteq_flow (contrib)."""

from __future__ import annotations

from liteq.cli.flow.files import FILES
from liteq.cli.flow.group import flow
from liteq.cli.flow.running import RUNNING
from liteq.cli.flow.scheduling import SCHEDULING

__all__ = ["flow"]

for command in (*FILES, *RUNNING, *SCHEDULING):
    flow.add_command(command)
