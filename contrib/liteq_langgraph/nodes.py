"""`node`: a node of a graph that is a task in a queue of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from inspect import iscoroutine
from typing import Any

import orjson
from langgraph.types import interrupt

from liteq.serialization import decode, encode
from liteq.serialization.models import data_of
from liteq.utils.coroutines import run_coroutine

__all__ = ["CALL", "driven", "is_call", "node", "plain", "real"]

CALL = "liteq.call"  # the one key of an interrupt's value that asks for a task: its name, its arguments, and the run
# The id of the run in whose step the graph runs. Its body does the calls that its nodes ask for; all of them bear it.
# A model that has a graph interrupt with words of its own does not know the id, so it can have no task sent.
driven: ContextVar[str | None] = ContextVar("liteq_langgraph_driven", default=None)


def node(task: Any, args: Callable[[Any], Sequence[Any]], out: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have a task, a workflow or a step as a node of a graph.

    `builder.add_node("render", node(render, lambda state: (state["page"],), lambda url: {"url": url}))`.

    args: the task's arguments, a tuple, out of the state. out: the node's update out of the task's result, as JSON
    carries it. In `run` and `arun` the task is sent to its queue, with its retries and limits, and nobody waits for it;
    its failure is raised in the body. Outside of a run it is called in place, an async task too.
    """
    name = task.name

    def call(state: Any) -> Any:
        given = args(state)
        if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
            raise TypeError(f"node({name!r}): args(state) is a tuple of arguments, not {given!r}")
        run = driven.get()
        if run is None:
            found = task(*given)
            return out(run_coroutine(found) if iscoroutine(found) else found)
        asked = {"task": name, "args": plain(list(given), f"the arguments of {name!r}"), "run": run}
        return out(interrupt({CALL: asked}))

    call.__name__ = name.rpartition(".")[2]
    TARGETS[name] = task
    return call


def is_call(value: Any, run: str) -> bool:
    """Whether the value of an interrupt is that of a `node`, in the run of this id."""
    asked = value.get(CALL) if isinstance(value, dict) else None
    return isinstance(asked, dict) and asked.get("run") == run


TARGETS: dict[str, Any] = {}  # what `node` was made of, by its name


def plain(value: Any, what: str) -> Any:
    """`value` as liteq's JSON has it: a checkpoint can hold it. Raises NotSerializable, which says `what` it is."""
    return orjson.loads(encode(data_of(value), what=what))


def real(document: Any) -> Any:
    """The value that `plain` made a document of: a datetime is one again."""
    return decode(orjson.dumps(document))
