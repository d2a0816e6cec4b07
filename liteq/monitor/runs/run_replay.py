"""A run's history against the code of this process: would its body ask for what is recorded?"""

from __future__ import annotations

from typing import Any

from liteq.context import App
from liteq.message import LATER, DeadLetter, Flag, Lease, Park, RunFacts
from liteq.serialization import decode_error
from liteq.storage.runs.records import ENDED, RunRecord

__all__ = ["compared"]

FAILED = frozenset({"failed", "cancelled"})
NO_TOKEN = -1  # of no lease: whatever a body would write under it is refused


def compared(app: App, run: RunRecord) -> dict[str, Any]:
    """Run the body of `run` up to the end of its history; a JSON object that says whether it went along.

    Nothing is executed and nothing is written: the body is left before the first call that history does not answer.
    """
    from liteq.workflow.activating.activation import activate

    steps = app.storage.runs.steps(run.id)
    found: dict[str, Any] = {
        "id": run.id, "name": run.name, "status": run.status, "steps": len(steps), "ok": True,
        "position": None, "recorded": None, "found": None, "error": None,
    }  # fmt: skip
    if not steps or run.is_step:
        return found
    lease = _lease(app, run)
    if lease is None:
        return found
    outcome = activate(app, lease, hostname="replay", stop=lambda: True, told=False)
    if isinstance(outcome, DeadLetter) and run.status not in FAILED:  # the code that it had went further
        how = "its body raises "
    elif isinstance(outcome, Park) and outcome.state == "stuck":
        how = ""
    else:
        return found
    error = decode_error(outcome.error) if outcome.error else None
    text = "unknown" if error is None else f"{error.type}: {error.message}"
    found |= {"ok": False, "error": how + text}
    if error is not None and error.type == "NonDeterminism" and len(error.args) == 3:
        found |= dict(zip(("position", "recorded", "found"), error.args, strict=True))
    return found


def _lease(app: App, run: RunRecord) -> Lease | None:
    """A lease that a worker could have, but for its token; None where what the run was called with is gone."""
    record = app.storage.reader.find(run.id)
    if record is None:
        return None
    flags, awaits = record.flags & (Flag.TAKES_INPUT | Flag.ON_FAILURE), record.awaits
    may_be_gone = flags == Flag.TAKES_INPUT and run.status in ENDED  # before its end it is kept
    if may_be_gone and awaits is not None and app.storage.reader.input_of(awaits) == b"null":
        return None
    facts = RunFacts(
        run.version, run.gen, run.started_ms or run.created_ms, run.started_ms or run.created_ms, None, None, "", None,
        0, 0, 0,
    )  # fmt: skip
    return Lease(
        seq=run.number, token=NO_TOKEN, id=run.id, task=run.name, payload=run.payload, options=run.options,
        queue=run.queue, priority=run.priority, due_ms=run.created_ms, expires_ms=None, retries=0, crashes=0,
        flags=Flag.RUN | Flag.HISTORY | flags, root_id=run.root_id, parent_id=run.parent_id, group_id=None,
        awaits=awaits, input=LATER, run=tuple(facts),
    )  # fmt: skip
