"""The steps of one `run(...)`: their names, and keys that depend on the run alone, not on the SDK's inner tasks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from liteq.workflow import StepOptions, actx
from liteq.workflow.history.codec import hash_of
from liteq.workflow.history.frames import here
from liteq.workflow.history.machine import Machine

__all__ = ["Steps"]

_begun: WeakKeyDictionary[Machine, Counter[str]] = WeakKeyDictionary()


def _next_id() -> str:
    """The place of a call of `run`: the scope of its code, and how many there were before."""
    scope: Any = here()
    counts = _begun.setdefault(scope.machine, Counter())
    counts[scope.name] += 1
    return f"openai{scope.name}.{counts[scope.name]}"


class Steps:
    """Makes the steps of one call of `run`, in a body. `agent`: the name that theirs begin with."""

    def __init__(self, agent: str, options: dict[str, StepOptions | None]) -> None:
        self.id = _next_id()
        self.agent = agent
        self.options = options
        self.counts: Counter[str] = Counter()

    async def numbered(
        self, kind: str, what: str, fn: Callable[..., Any], args: Sequence[Any], agent: str = "", of: str = ""
    ) -> Any:
        """A step that is told from its like by their order, which is that of the agent's loop.

        of: the call of a tool that it belongs to. Several calls run side by side, each time in another order.
        """
        place = f"{kind}.{of}" if of else kind
        self.counts[place] += 1
        return await self.keyed(kind, what, f"{place}.{self.counts[place]}", fn, args, agent)

    async def keyed(
        self, kind: str, what: str, key: str, fn: Callable[..., Any], args: Sequence[Any], agent: str = ""
    ) -> Any:
        """A step with a key of its own."""
        name = f"{plain(agent or self.agent)}__{kind}.{plain(what)}"
        return await actx.step(name, fn, key=f"{self.id}.{key}", args=args, options=self.options.get(kind))

    def holds(self, kind: str, args: Sequence[Any]) -> bool:
        """Whether history holds the next numbered step of a kind, with these arguments."""
        row = self._next(kind)
        return row is not None and row.arghash == hash_of(args, {})

    def went_past(self, kind: str, of: str) -> bool:
        """Whether the run has been here before, and had no such step then."""
        if self._next(f"{kind}.{of}") is not None:
            return False
        return any(self._next(one) is not None for one in ("model", "session")) or bool(here().passed())

    def asked(self, key: str) -> str | None:
        """The title under which a person is asked with this key already: it stays, however titles are made now."""
        row = self._row(key)
        return None if row is None else str(row.name)

    def _next(self, place: str) -> Any:
        return self._row(f"{place}.{self.counts[place] + 1}")

    def _row(self, key: str) -> Any:
        machine = here().machine
        return machine.rows.get(machine.place_of_key(f"{self.id}.{key}"))


def plain(name: str) -> str:
    """A name without what a step's may not have."""
    return re.sub(r"[^\w-]+", "_", name) or "_"
