"""How a task or a run stands in Celery's words, and the wait for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from liteq import states
from liteq.exceptions import LiteqError
from liteq.message import Flag
from liteq.monitor import messages
from liteq.monitor.access.failing import error_document
from liteq.monitor.access.sight import Sight
from liteq.monitor.runs.runs import as_seen
from liteq.monitor.tasks.telling import progress_document
from liteq.result.hub import finished
from liteq.result.reading import state_of
from liteq.states import FINISHED, State
from liteq.storage.reading.inspect import Record
from liteq.utils.async_threads import looking
from liteq_mcp.tools import Call, Refused

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["LONGEST_WAIT_S", "outcome", "read", "state", "wait"]

LONGEST_WAIT_S: Final = 50  # clients give up after a minute
NOTICE_S: Final = 1.0


def state(record: Record) -> str:
    """The state in Celery's words; STARTED for what a worker has, whether or not its task tracks that."""
    if record.state is State.LEASED and record.progress is None:
        return states.STARTED
    return state_of(record)


def outcome(app: LiteQ, record: Record, see: Sight) -> dict[str, Any]:
    """{"id", "state", "result", "error"}: the result where `see` has payloads, the error with its secrets masked."""
    result = None
    if see.payloads and record.state is State.SUCCEEDED:
        try:
            result = messages.result(record)
        except LiteqError as exc:
            result = f"({exc})"
    error = error_document(app, record, record) if record.state in FINISHED else None
    return {"id": record.id, "state": state(record), "result": result, "error": error}


def read(app: LiteQ, id_: str, see: Sight) -> Record | None:
    """The row of a task or a run; None where it is not there, or not seen."""
    record = app.storage.reader.find(id_)
    return None if record is None or not see.sees(record.queue) else record


async def wait(call: Call) -> dict[str, Any]:
    """Wait for the end, and tell each second how far it is. Raises Refused for an id that is not there."""
    app, id_, see = call.app, call.arguments["id"], call.viewer.sight
    timeout_s = float(call.get("timeout_s", 20))
    clock = app.clock
    began = clock.monotonic()
    while True:
        record = await looking(app, read, app, id_, see)
        if record is None:
            raise Refused(f"there is no task or run {id_!r:.100}")
        waited_s = clock.monotonic() - began
        ended = record.state in FINISHED
        if ended or waited_s >= timeout_s:
            found = await looking(app, outcome, app, record, see)
            return {**found, **_of_run(app, record, see), "ended": ended, "waited_s": round(waited_s, 3)}
        await _tell(call, record, waited_s, timeout_s, see)
        try:
            async with finished(app, [id_], min(NOTICE_S, timeout_s - waited_s)) as futures:
                for future in futures.values():
                    await future
        except TimeoutError:
            pass


def _of_run(app: LiteQ, record: Record, see: Sight) -> dict[str, Any]:
    if not record.flags & Flag.RUN:
        return {}
    run = app.storage.runs.find(record.id)
    return {} if run is None else {"status": run.status, "waiting_for": list(as_seen(app, run, see).waiting_for)}


async def _tell(call: Call, record: Record, waited_s: float, timeout_s: float, see: Sight) -> None:
    """A progress notice, to a client that wants one."""
    told = progress_document(record.progress, see) or {}
    message = state(record)
    if told.get("current") is not None:
        message += f" {told['current']}" + (f"/{told['total']}" if told.get("total") else "")
    await call.context.session.report_progress(round(waited_s, 1), timeout_s, message)
