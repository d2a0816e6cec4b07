"""Agents of the OpenAI Agents SDK in workflows: what a model has answered and what a tool has done is kept.

    @app.workflow
    async def support(question: str) -> str:
        result = await run(agent, question, session=LiteQSession("ann", app))
        return result.final_output

Needs the extra `openai-agents`.
"""

from __future__ import annotations

try:
    import agents  # noqa: F401 - asked for, to say what is missing
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(
        "liteq_openai_agents needs the OpenAI Agents SDK (the extra `openai-agents`): install it", name=exc.name
    ) from exc

from liteq_openai_agents.running import run
from liteq_openai_agents.session import LiteQSession

__all__ = ["LiteQSession", "run"]
