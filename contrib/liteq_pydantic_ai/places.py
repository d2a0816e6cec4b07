"""Where an agent runs in its run: ids and keys that are the same in each replay, in each version of the framework.

A framework's loop makes tasks of its own, and how many depends on what is ready when. So nothing here counts them: an
agent's run has a scope of its own, named by its id, and so has each tool that runs in the body.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from pydantic_ai.usage import RunUsage

from liteq.exceptions import WorkflowError
from liteq.workflow import ctx
from liteq.workflow.calling.scope import Scope
from liteq.workflow.history.frames import enter, here, leave
from liteq.workflow.history.machine import Machine
from liteq_pydantic_ai.hashing import Messages

__all__ = [
    "Activation", "activation", "body", "first_time", "history_holds", "in_body", "in_step", "inside", "is_durable",
    "key", "run_id", "scoped", "usage_before",
]  # fmt: skip

SAID = "\0said "  # begins the mark of an event that was put into a stream; the NUL keeps it out of the list of patches
LONGEST = 200  # characters of a key; what is longer is told by a digest


class Activation:
    """The memory of agents for one activation of a run: how often each key was given, and digests of messages."""

    def __init__(self, named_by: str) -> None:
        self.named_by = named_by  # the id of a run that names of scopes begin with
        self.given: Counter[str] = Counter()
        self.messages = Messages()
        self.added: defaultdict[str, Any] = defaultdict(int)  # to budgets, by an agent's run and what it is of
        self.usages: dict[str, RunUsage] = {}  # before an agent's run, by its id

    def counted(self, name: str) -> int:
        """How often `name` was given in this activation, this time included."""
        self.given[name] += 1
        return self.given[name]


_inside: ContextVar[str] = ContextVar("liteq_pydantic_ai_inside", default="")
_activations: WeakKeyDictionary[Machine, Activation] = WeakKeyDictionary()


def in_body() -> bool:
    """Whether this is the body of a workflow, and no step of it."""
    return ctx.place == "body"


def body() -> Scope:
    """The scope of the body that runs here. Raises WorkflowError in one that is not async."""
    frame = here()
    assert isinstance(frame, Scope)
    if not frame.machine.is_async:
        raise WorkflowError(
            "an agent runs in an `async def` body: make the workflow async and `await agent.run(...)`, or run the "
            "agent in a step"
        )
    return frame


def activation() -> Activation:
    """That of the body that runs here."""
    machine = body().machine
    found = _activations.get(machine)
    if found is None:
        found = _activations[machine] = Activation(_named_by(machine))
    return found


def _named_by(machine: Machine) -> str:
    """The id of a run that names in the history have in them, as an older liteq has made them; "" for none.

    Of a fork it may be that of the run from which it was made.
    """
    recorded: Any = machine.recorded
    names = {*machine.marks, *(scope for scope, _ in machine.rows)}
    names.update(scope for scope, _ in (machine.aside.rows if machine.aside else ()))
    names.update(row.scope for row in (recorded.rows if recorded else ()))
    for id_ in (machine.run_id, *machine.kin, *(recorded.others if recorded else ())):
        if any(f"{kind}|{id_}{end}" in name for name in names for kind in ("scope", "said") for end in ":."):
            return str(id_)
    return ""


def run_id() -> str:
    """A new id of an agent's run: the run's own, the scope in which it begins, and its number there."""
    frame = body()
    machine = frame.machine
    begun = f".{machine.hold.gen}" if machine.hold.gen else ""
    number = activation().counted(f"run {frame.name}")
    return f"{machine.run_id}{begun}:{frame.name}{'.' if frame.name else ''}{number}"


def key(*parts: object, of: str = "") -> str:
    """A key for a call of this activation: its parts, and its number where the same were given before.

    The id of the run is left out: a key is the run's own anyway, and a fork keeps it. of: the kind of a name that is
    no call's key.
    """
    whole = "|".join(str(part) for part in parts)
    name = whole.removeprefix(body().machine.run_id)
    if of:
        name = f"{of}|{activation().named_by if name != whole else ''}{name}"
    number = activation().counted(name)
    full = name if number == 1 else f"{name}#{number}"
    if len(full) <= LONGEST:
        return full
    return f"{full[: LONGEST - 40]}~{blake2b(full.encode(), digest_size=16).hexdigest()}"


@contextmanager
def scoped(*parts: object) -> Iterator[None]:
    """A block whose calls, and whose tasks', have places of their own, whatever the framework makes around it."""
    outer = body()
    name = f"@{key(*parts, of='scope')}"
    inner = type(outer)(outer.machine, name, outer.reached_ms)  # in a test with a recording a class of its own
    inner.shields, inner.sagas = outer.shields, list(outer.sagas)
    token, of_name = enter(inner), _inside.set(name)
    try:
        yield
    finally:
        _inside.reset(of_name)
        leave(token)


def inside() -> str:
    """The innermost place that `scoped` made: that of a tool, or of an agent's run."""
    return _inside.get()


def history_holds(key: str) -> bool:
    """Whether this activation began with a call of that key in its history."""
    machine: Any = body().machine
    return machine.place_of_key(key) in machine.rows


def in_step() -> bool:
    """Whether this is a step of a run."""
    return ctx.place == "step"


def first_time(*parts: object) -> bool:
    """Whether the run is here for the first time; remembered with the next write of the run."""
    machine = body().machine
    mark = f"{SAID}{key(*parts, of='said')}"
    if mark in machine.marks:
        return False
    machine.mark(mark)
    return True


def is_durable(run_id: object) -> bool:
    """Whether the agent's run of this id is one whose calls are steps. Raises WorkflowError as `body`."""
    return str(run_id) in activation().usages


def usage_before(run_id: str) -> RunUsage:
    """The usage before an agent's run began: it may go on counting where another one stopped."""
    return activation().usages.get(run_id, RunUsage())
