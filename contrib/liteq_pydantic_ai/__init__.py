"""pydantic-ai's agents as durable runs: model requests and tool calls are steps, people are asked, nothing is held.

    from liteq_pydantic_ai import Approvals, LiteQDurability

    agent = Agent("openai:gpt-x", name="support", capabilities=[LiteQDurability(retries=5), Approvals(timeout="2d")])

    @app.workflow
    async def support(question: str) -> str:
        return (await agent.run(question)).output

Outside the body of a workflow the agent is as it would be without. Needs the extra `pydantic-ai`.
"""

from __future__ import annotations

try:
    import pydantic_ai.durable_exec  # noqa: F401 - asked for, to say what is missing
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(
        "liteq_pydantic_ai needs pydantic-ai-slim of version 2 (the extra `pydantic-ai`): install it", name=exc.name
    ) from exc

from liteq_pydantic_ai.approvals import Approvals
from liteq_pydantic_ai.conversations import LiteQConversations
from liteq_pydantic_ai.durability import LiteQDurability
from liteq_pydantic_ai.events import fail, resolve
from liteq_pydantic_ai.pool import pool_tool

__all__ = ["Approvals", "LiteQConversations", "LiteQDurability", "fail", "pool_tool", "resolve"]
