"""`FlowRun`: one run of a flow: what all of its documents share, and what its readers are told."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.workflow import actx
from liteq_flow.snapshot import Snapshot

__all__ = [
    "OUTPUTS", "STEP", "UNEXPECTED", "FlowFailed", "FlowRun", "StepFailed", "Undo", "all_of", "key_of", "shown",
    "spelled",
]  # fmt: skip

STEP = "step "  # and the key of a step: the state that readers are told
OUTPUTS = "outputs"
LONGEST_KEY = 200
SEPARATING = re.compile(r"[%/\[\]#?!$>~]")  # signs between the parts of a path, and before what follows it in a key


def spelled(name: str, but: str = "") -> str:
    """A name as a part of a path, without the signs that separate its parts: a step may be called `a/b`, or `a#2`.

    `but`: signs that stay, as a slash does in the key of an item, which has brackets around it.
    """
    return SEPARATING.sub(lambda match: match[0] if match[0] in but else f"%{ord(match[0]):02X}", name)


def shown(path: str) -> str:
    """A path with its names as the file has them."""
    return re.sub("%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), path)


def key_of(path: str) -> str:
    """The key of a call in the history: the path, cut where that is too long."""
    if len(path) <= LONGEST_KEY:
        return path
    return f"{path[: LONGEST_KEY - 33]}~{blake2b(path.encode(), digest_size=16).hexdigest()}"


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

    async def tell(self, path: str, **what: Any) -> None:
        """Tell readers how a step has ended. Recorded: silent in replay."""
        await actx.set(STEP + key_of(path), {"id": shown(path), **what})

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
