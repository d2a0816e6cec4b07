"""LangGraph on liteq: a checkpointer, a store and a cache in the queue's file, and graphs as steps of durable runs.

    from liteq_langgraph import LiteQSaver, arun, node

    graph = builder.compile(checkpointer=LiteQSaver(app))  # or LiteQSaver("sqlite:///graphs.db")

    @app.workflow
    async def support(question: str) -> str:
        state = await arun(builder, {"question": question})  # killed anywhere, it goes on at the saved superstep
        return state["answer"]

Needs the extra `langgraph`.
"""

from __future__ import annotations

try:
    import langgraph.graph  # noqa: F401 - asked for, to say what is missing
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(
        "liteq_langgraph needs langgraph (the extra `langgraph`): install it", name=exc.name
    ) from exc

from liteq_langgraph.cache import LiteQCache
from liteq_langgraph.nodes import node
from liteq_langgraph.running import arun, run
from liteq_langgraph.saver import LiteQSaver
from liteq_langgraph.serde import StrictSerializer
from liteq_langgraph.store import LiteQStore

__all__ = ["LiteQCache", "LiteQSaver", "LiteQStore", "StrictSerializer", "arun", "node", "run"]
