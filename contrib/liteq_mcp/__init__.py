"""Agents at a liteq file by the Model Context Protocol: `liteq mcp`, and `Tasks` for a server of your own."""

from __future__ import annotations

from liteq_mcp.options import Options
from liteq_mcp.tasks import Tasks

__all__ = ["Options", "Tasks"]
