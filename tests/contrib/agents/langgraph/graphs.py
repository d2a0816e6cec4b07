"""Graphs of the tests, and how many rows there are of a saver's."""

from __future__ import annotations

import operator
import random
import string
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from liteq_langgraph import LiteQSaver

__all__ = ["TEXTS", "Seen", "at", "chat", "line", "rows", "say", "texts_of"]

TEXTS = random.Random(21)


class Talk(TypedDict):
    messages: Annotated[list[Any], add_messages]


class Seen(TypedDict, total=False):
    q: str
    seen: Annotated[list[Any], operator.add]


def text(size: int = 2_000) -> str:
    return "".join(TEXTS.choices(string.ascii_letters + " ", k=size))


def chat() -> StateGraph[Any, Any, Any, Any]:
    """A graph that answers each message with 2 kB."""
    builder = StateGraph(Talk)
    builder.add_node("bot", lambda state: {"messages": [AIMessage(text())]})
    builder.add_edge(START, "bot")
    builder.add_edge("bot", END)
    return builder


def line(*nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    """A graph of nodes, one after the other."""
    builder = StateGraph(Seen)
    names = [getattr(one, "__name__", str(one)) for one in nodes]
    for name, one in zip(names, nodes, strict=True):
        builder.add_node(name, one)
    builder.add_edge(START, names[0])
    for one, other in zip(names, [*names[1:], END], strict=True):
        builder.add_edge(one, other)
    return builder


def at(thread: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread, **more}}


def say(graph: Any, thread: str, turns: int) -> Any:
    out = None
    for _ in range(turns):
        out = graph.invoke({"messages": [HumanMessage(text())]}, at(thread))
    return out


def texts_of(state: Any) -> list[str]:
    return [one.content for one in state["messages"]]


def rows(saver: LiteQSaver) -> dict[str, int]:
    """How many rows each table of the saver's has."""
    tables = ("checkpoints", "writes", "values", "blobs")
    with saver._home.storage.driver.read() as tx:
        return {one: tx.execute(f"SELECT count(*) FROM liteq_graph_{one}")[0][0] for one in tables}
