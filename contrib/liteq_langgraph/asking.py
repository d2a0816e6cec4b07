"""`Ask`: a question of a graph, and how the body of its run asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

from liteq.utils.names import LONGEST
from liteq.workflow import actx
from liteq.workflow.calling import children, waits
from liteq.workflow.calling.scope import Scope
from liteq_langgraph.nodes import CALL, TARGETS, plain, real

__all__ = ["Ask", "breakpoint_of"]

EVENT = "event"  # the key of an interrupt's value that waits for an event of that name


class Ask:
    """One interrupt, and how it is asked for."""

    def __init__(self, key: str, wait: Mapping[str, Any]) -> None:
        self.id: str = wait["id"]
        self.key = _cut(f"{key} {self.id}")
        self.value = value = wait["value"]
        self.schema = wait.get("schema")
        asks = wait.get("call", isinstance(value, dict) and CALL in value)  # not told by an older liteq
        self.call: Mapping[str, Any] | None = real(value)[CALL] if asks else None
        named = value.get(EVENT) if isinstance(value, dict) and value.keys() <= {EVENT, "timeout"} else None
        self.event: str | None = named if isinstance(named, str) else None

    @property
    def target(self) -> Any:
        assert self.call is not None
        return TARGETS.get(self.call["task"], self.call["task"])

    def plain(self, scope: Scope) -> Callable[[], Any]:
        """The call of a plain body that asks for it."""
        if self.call is not None:
            given = real(self.call["args"])
            return lambda: children.call(scope, self.target, *given)
        if self.event is not None:
            name, timeout = self.event, self.value.get("timeout")
            return lambda: waits.wait_event(scope, name, timeout=timeout, key=self.key)
        return lambda: waits.approval(scope, self.id, details=self.value, form=self.schema, key=self.key)

    def awaited(self) -> Any:
        """The same of an async body, to be awaited."""
        if self.call is not None:
            return actx.call(self.target, *real(self.call["args"]))
        if self.event is not None:
            return actx.wait_event(self.event, timeout=self.value.get("timeout"), key=self.key)
        return actx.approval(self.id, details=self.value, form=self.schema, key=self.key)

    def answer(self, found: Any) -> Any:
        """The value that the graph gets, as JSON carries it."""
        if isinstance(found, waits.Approval):
            found = found.ok if found.data is None else found.data
        return real(plain(found, f"the answer to the interrupt {self.id}"))


def breakpoint_of(nodes: Iterable[str]) -> str:
    """The title of a breakpoint before `nodes`, of which several may be the same: those of a fan-out."""
    return _cut(f"go on with {', '.join(dict.fromkeys(nodes))}")


def _cut(name: str) -> str:
    """`name`, or its beginning and a digest where it is too long for a name."""
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 33]}~{blake2b(name.encode(), digest_size=16).hexdigest()}"
