"""`FlowRun`: one run of a flow: what all of its documents share, and what its readers are told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.workflow import actx
from liteq_flow.snapshot import Snapshot

__all__ = ["OUTPUTS", "STEP", "UNEXPECTED", "FlowFailed", "FlowRun", "StepFailed", "Undo", "all_of"]

STEP = "step "  # and the path of a step: the state that readers are told
OUTPUTS = "outputs"


class FlowFailed(LiteqError):
    """Raised by a run of which a step has failed, and was not continued after: it names the steps."""


class StepFailed(Exception):
    """Raised inside a step that has failed; `exit_code` where a command told one. `timed_out`: at its timeout."""

    def __init__(self, why: str, exit_code: int | None = None, *, result: dict[str, Any] | None = None) -> None:
        super().__init__(why)
        self.exit_code = exit_code
        self.result = result or {}


UNEXPECTED = (StepFailed, LiteqError, LookupError, ValueError, OSError, TypeError)  # by which a step fails


@dataclass(slots=True)
class Undo:
    """A step that has succeeded, and has something that undoes it (`compensate`)."""

    plan: Any
    node: Any


@dataclass(slots=True)
class FlowRun:
    """The run: its app, id, snapshot, and where its steps run."""

    app: App
    id: str
    snapshot: Snapshot
    queue: str
    outputs: dict[str, Any] = field(default_factory=dict)
    undo: list[Undo] = field(default_factory=list)
    someone_waits: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first step waits for a person."""

    async def tell(self, path: str, **what: Any) -> None:
        """Tell readers how a step has ended. Recorded: silent in replay."""
        await actx.set(STEP + path, what)

    async def publish(self, values: dict[str, Any]) -> None:
        """Add outputs of the run, which readers see at once."""
        self.outputs |= values
        await actx.set(OUTPUTS, dict(self.outputs))


async def all_of(tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for all. The first exception ends the wait: that by which the body is left, or a cancel of the run."""
    if not tasks:
        return
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for one in done:
        if (exc := one.exception()) is not None:
            raise exc
