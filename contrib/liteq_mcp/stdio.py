"""The server over stdin and stdout, for a client that starts it; what is printed meanwhile goes to stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from mcp.server.stdio import stdio_server

from liteq_dashboard.access import Viewer
from liteq_mcp.server import mcp_server

if TYPE_CHECKING:
    from liteq import LiteQ
    from liteq_mcp.options import Options

__all__ = ["serve_stdio"]


def serve_stdio(app: LiteQ, viewer: Viewer, options: Options) -> None:
    """Serve one client until it closes stdin. Raises ImproperlyConfigured."""
    server = mcp_server(app, lambda _: viewer, options)

    async def run() -> None:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(run)
