"""A support desk as a graph: a model drafts, a task in another queue looks it over, a person approves, it is sent.

The graph is LangGraph's; the run is liteq's. Killed in any node, it goes on there, and no answer of the model that was
saved is paid for again.
"""

from __future__ import annotations

import json
import operator
import os
import signal
import urllib.request
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from liteq import LiteQ
from liteq_langgraph import node, run

DATA = Path(os.environ.get("DESK_DATA", Path(__file__).resolve().parent / "data")).absolute()
DATA.mkdir(parents=True, exist_ok=True)
MODEL = os.environ.get("DESK_MODEL", "http://127.0.0.1:8091/")
KILLS = os.environ.get("DESK_KILLS", "").split()  # nodes that kill their process when they first run

app = LiteQ("desk", broker=f"sqlite:///{DATA}/desk.db", task_routes={"desk.look_over": {"queue": "checks"}})


class Case(TypedDict, total=False):
    """The state of the graph."""

    question: str
    draft: str
    notes: Annotated[list[str], operator.add]
    sent: bool


def model(prompt: str) -> str:
    """One call of the model. It costs money."""
    request = urllib.request.Request(MODEL, json.dumps({"prompt": prompt}).encode())  # noqa: S310 - this machine's
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
        return str(json.loads(response.read())["text"])


def dies_once(name: str) -> None:
    """Kill this process, if the example is to show that, and it has not done so yet."""
    mark = DATA / f"killed {name}"
    if name in KILLS and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def draft(case: Case) -> Case:
    """Ask the model for an answer."""
    dies_once("draft")
    return {"draft": model(f"Answer: {case['question']}"), "notes": ["drafted"]}


@app.task
def look_over(text: str) -> str:
    """Ask the model whether a text may go out: a task with a queue and workers of its own."""
    return model(f"Look over: {text}")


def approve(case: Case) -> Case:
    """Ask a person. Nothing is held meanwhile."""
    answer = interrupt({"draft": case["draft"], "notes": case["notes"]})
    return {"sent": bool(answer), "notes": ["approved" if answer else "denied"]}


def send(case: Case) -> Case:
    """Send it."""
    dies_once("send")
    return {"notes": ["sent"] if case["sent"] else []}


def built() -> Any:
    """The graph, which `run` compiles with the run's saver."""
    builder = StateGraph(Case)
    builder.add_node("draft", draft)
    builder.add_node("check", node(look_over, lambda case: (case["draft"],), lambda said: {"notes": [said]}))
    builder.add_node("approve", approve)
    builder.add_node("send", send)
    for one, other in ((START, "draft"), ("draft", "check"), ("check", "approve"), ("approve", "send"), ("send", END)):
        builder.add_edge(one, other)
    return builder


desk_graph = built()


@app.workflow
def desk(question: str) -> list[str]:
    """The notes on a question, from the draft to its end."""
    return list(run(desk_graph, {"question": question, "notes": []})["notes"])
