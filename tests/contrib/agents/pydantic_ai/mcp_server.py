"""A server of MCP over stdio: `python mcp_server.py FILE`. Each session is a line of FILE, and so is each call."""

from __future__ import annotations

import sys
from pathlib import Path

from mcp.server import MCPServer

LOG = Path(sys.argv[1])
server = MCPServer("numbers", instructions="Add numbers with `add`.")


def note(what: str) -> None:
    """Write a line down."""
    with LOG.open("a") as log:
        log.write(f"{what}\n")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    note(f"add {a} {b}")
    return a + b


if __name__ == "__main__":
    note("session")
    server.run()
