"""The helper of contrib/examples, whose process dies inside each tool, the first time that it is called."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from helper import agent, app

__all__ = ["app"]

DIED = Path(os.environ["HELPER_DIED"])


def deadly(tool: Any) -> None:
    inner = tool.on_invoke_tool

    async def invoke(context: Any, arguments: str) -> Any:
        found = await inner(context, arguments)
        try:
            os.close(os.open(DIED / tool.name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return found
        os.kill(os.getpid(), signal.SIGKILL)
        return await asyncio.sleep(60)  # until the kernel does it

    tool.on_invoke_tool = invoke


for one in agent.tools:
    deadly(one)
