"""`pool_tool`: a tool that is a task, and runs in the pool, in its own queue."""

from __future__ import annotations

import asyncio
import functools
import inspect
import typing
from typing import Any

from pydantic_ai.tools import Tool

from liteq.workflow import actx
from liteq_pydantic_ai import places
from liteq_pydantic_ai.options import METADATA

__all__ = ["pool_tool"]


def pool_tool(task: Any, *, name: str | None = None, **options: Any) -> Tool[Any]:
    """A tool that calls `task`: `Agent(tools=[pool_tool(render)])`.

    In the body of a workflow the task is sent to its queue, and the run waits without holding a worker; the task's
    retries, limits and time limits are its own. Elsewhere the task's function is called. The model is told the task's
    signature and docstring. `name`: in place of the task's last part; `options`: of pydantic-ai's `Tool`.
    """
    function = task.run
    described = name or str(task.name).rpartition(".")[2]

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if places.in_body():
            return await actx.call(task, *args, **kwargs)
        value = await asyncio.to_thread(function, *args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    call.__annotations__ = typing.get_type_hints(function, include_extras=True)
    call.__name__ = described
    metadata = {**(options.pop("metadata", None) or {}), METADATA: False}
    options.setdefault("takes_ctx", False)
    return Tool(call, name=described, metadata=metadata, **options)
