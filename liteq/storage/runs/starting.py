"""The start of a run, and events to runs."""

from __future__ import annotations

from liteq.exceptions import RunConflict, RunEnded
from liteq.message import Batch, Flag, Message
from liteq.states import FINISHED, State
from liteq.storage.canvases.follow import Waiter
from liteq.storage.canvases.standing import step_aside
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.rows.payloads import PAYLOAD_COLUMN
from liteq.storage.runs.records import Started
from liteq.storage.runs.terminating import terminate
from liteq.storage.sending.enqueue import IS_GROUP, ONLY_SHOWN, place
from liteq.storage.steps.birth import input_hash
from liteq.storage.steps.wake import deliver
from liteq.utils.misspelt import meant
from liteq.utils.records import NamedTuple

__all__ = ["check_conflict", "send", "start"]

ENDED = {State.DEAD: "failed", State.UPSTREAM_FAILED: "failed"}  # states in the words of a run's status
CONFLICTS = ("fail", "existing", "renew", "replace")
THERE = f"""
SELECT m.seq, m.state, m.task, r.input, {PAYLOAD_COLUMN}
  FROM liteq_messages AS m LEFT JOIN liteq_runs AS r ON r.run = m.seq WHERE m.id = ?
"""
RUN = f"SELECT seq, state FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} = 0 {LOCK}"
KNOWN = "SELECT 1 FROM liteq_inbox WHERE run_id = ? AND dedup = ?"
PUT = "INSERT INTO liteq_inbox (run_id, name, payload, dedup, taken, created_ms) VALUES (?, ?, ?, ?, ?, ?)"


class _There(NamedTuple):
    seq: int
    state: str
    task: str
    input: bytes | None
    payload: bytes

    def is_for(self, message: Message) -> bool:
        """Whether it is the same workflow with the same input."""
        own = self.input if self.input is not None else input_hash(self.task, bytes(self.payload))
        return self.task == message.task and own == input_hash(message.task, message.payload)


def check_conflict(on_conflict: object) -> None:
    """Raises ValueError for no word that says what becomes of a run whose id exists."""
    if on_conflict not in CONFLICTS:
        known, hint = ", ".join(map(repr, CONFLICTS)), meant(str(on_conflict), CONFLICTS)
        raise ValueError(f"on_conflict is one of {known}, not {on_conflict!r}{hint}")


def start(
    tx: Transaction, message: Message, *, on_conflict: str, event: tuple[str, bytes] | None, now_ms: int,
    waiter: Waiter | None = None,
) -> Started:  # fmt: skip
    """Send a run, or find the one that stands for it, by its id or by its unique key. Raises RunConflict, RunEnded.

    `waiter`: as of `place`; with one, a run whose key is held follows the holder.
    """
    check_conflict(on_conflict)
    if not message.id:
        raise ValueError("a run's id must not be empty: leave it out to have one made")
    tx.executemany(ONLY_SHOWN, [(message.id,)])
    if tx.execute(IS_GROUP, (message.id,)):
        raise RunConflict(f"the id {message.id!r} is that of a group: choose another one for the run")
    new, id_ = True, message.id
    tx.execute(RUN, (message.id,))  # locked: of two starts the second sees what the first has made
    for row in tx.execute(THERE, (message.id,)):
        new = _makes_room(tx, _There._make(row), message, on_conflict, now_ms)
    if new:
        placed = place(tx, Batch([message]), now_ms=now_ms, waiter=waiter)
        new, id_ = id_ not in placed.standing, placed.stands.get(id_, id_)
    if event is not None:
        send(tx, id_, *event, dedup=None, now_ms=now_ms)
    return Started(id_, new)


def _makes_room(tx: Transaction, there: _There, message: Message, on_conflict: str, now_ms: int) -> bool:
    """Whether a new run is to be sent under the id of the one that is `there`, which has gone then."""
    ended = State(there.state) in FINISHED
    match on_conflict:
        case "existing":
            return False
        case "fail":
            if there.is_for(message):
                return False
            raise RunConflict(
                f"a run {message.id!r} exists, of {there.task} with other input or under another name: nothing was "
                "started; choose another id, or on_conflict='existing', 'renew' or 'replace'"
            )
        case "renew" if not ended:
            return False
    if not ended:
        terminate(tx, message.id, reason="replaced by a new run of its id", now_ms=now_ms)
    step_aside(tx, [message.id], [])
    return True


def send(
    tx: Transaction, run_id: str, name: str, payload: bytes, *, dedup: str | None, now_ms: int
) -> tuple[bool, bool]:
    """Give an event to the oldest wait for it, else to the inbox: whether it is new, whether a run woke.

    Raises RunEnded.
    """
    if dedup is not None and tx.execute(KNOWN, (run_id, dedup)):
        return False, False
    taken = woke = False
    for seq, state in tx.execute(RUN, (run_id,)):
        if State(state) in FINISHED:
            status = ENDED.get(State(state), state)
            raise RunEnded(f"run {run_id!r} has ended ({status}): it takes no event {name!r} any more")
        taken, woke = deliver(tx, seq, f"event {name}", payload, now_ms=now_ms)
    if not taken or dedup is not None:
        tx.executemany(PUT, [(run_id, name, payload, dedup, int(taken), now_ms)])
    return True, woke
