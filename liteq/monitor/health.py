"""The health of the workers of this host, for probes: which of them live, and which take tasks.

A probe looks on: it makes no file, migrates none, and waits for no lock longer than `PATIENCE_S`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing

from liteq.context.identity import Presence, is_here, presence
from liteq.context.living import RESTS
from liteq.exceptions import StorageBusy, StorageError, StorageUnavailable
from liteq.monitor.workers import GATEWAY, STAGE
from liteq.storage.claiming import workers as _workers
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.driver import Driver, Promise
from liteq.utils.records import NamedTuple
from liteq.utils.text import span

__all__ = ["PATIENCE_S", "Health", "Pulse", "health"]

PATIENCE_S = 0.05  # for a lock that another process has; a probe is to answer within a third of a second

# The state of a worker that lives, as it tells it itself.
TELLS = {
    "ready": "takes tasks",
    "starting": "is starting",
    "quiet": "is quiet: it claims nothing until `liteq control wake`",
    "full": "claims nothing, as the disk is full: free some space",
    "bare": "takes no tasks, as it cannot start its processes: its log says why",
    "ending": "is ending: it claims no more",
}


class Pulse(NamedTuple):
    """One worker of this host. `state`: a key of `TELLS`, or "silent", "stopped" or "gone" for one that is not live.

    `heartbeat_s`: the age of its last sign of life, in seconds; `detail` is the state in words.
    """

    name: str
    pid: int
    state: str
    heartbeat_s: float
    detail: str

    @property
    def lives(self) -> bool:
        return self.state in TELLS or self.state == "locked out"


class Health(NamedTuple):
    """The answer to a probe; `reason` says in one sentence why."""

    ok: bool
    reason: str
    workers: list[Pulse]


def health(driver: Driver, *, now_ms: int, late_ms: int, ready: bool, name: str | None = None) -> Health:
    """Whether a worker of this host, or the one called `name`, lives; with `ready`: and takes tasks.

    A worker lives while the kernel has its process and its heartbeat is not older than `late_ms`. One that is silent
    because another process has the write lock for so long lives too: to start it again would help nobody. The same
    holds where a server does not answer: workers are taken to live, and none is ready. A file that cannot be read is
    an answer too, not an exception. A gateway is no worker: it is looked at only where `name` is its own. Closes
    `driver`, which is to wait for locks up to `PATIENCE_S`.
    """
    try:
        with closing(driver):
            with driver.read() as tx:
                here = [one for one in _workers.workers(tx) if is_here(one.identity)]
                found = [one for one in here if (one.name == name if name else GATEWAY not in one.facts)]
            return _judge([_pulse(driver, one, now_ms - one.heartbeat_ms, late_ms) for one in found], ready, name)
    except StorageBusy as busy:
        return Health(False, f"the file is locked by {busy.holder}: it cannot be read, so no worker of it is seen", [])
    except StorageUnavailable as error:
        if ready or driver.one_machine:
            return Health(False, str(error), [])
        return Health(True, f"it cannot be told, and a new worker could do no more: {error}", [])
    except StorageError as error:
        return Health(False, str(error), [])


def _pulse(driver: Driver, one: WorkerRecord, age_ms: int, late_ms: int) -> Pulse:
    state, detail = _state(driver, one, age_ms, late_ms)
    return Pulse(one.name, one.pid, state, round(age_ms / 1000, 1), detail)


def _state(driver: Driver, one: WorkerRecord, age_ms: int, late_ms: int) -> tuple[str, str]:
    match presence(one.identity):
        case Presence.GONE:
            return "gone", "has ended without a word"
        case Presence.STOPPED:
            return "stopped", "was stopped by a signal or a debugger; SIGCONT has it go on"
        case Presence.ALIVE if one.facts.get(RESTS):  # one of many files: it beats where there is work
            age_ms = 0
        case _:
            pass
    if abs(age_ms) > late_ms:  # one of the future is from before the clock was set back
        silence = f"has given no sign of life for {span(abs(age_ms) / 1000)}"
        if why := _locked_out(driver):
            return "locked out", f"{silence}, as nothing can be written: {why}"
        return "silent", f"{silence}: it hangs"
    facts = one.facts
    stage = facts.get(STAGE, "quiet" if facts.get("quiet") else "ready")  # an older liteq's tells none
    if not facts:  # it has entered the list, and has no parts yet
        stage = "starting"
    return stage, TELLS.get(stage, f"is {stage}")


def _locked_out(driver: Driver) -> str:
    """The reason why no process can write now, as far as one tries it; "" where there is none."""
    try:
        with driver.write(Promise.PROGRESS):
            return ""
    except StorageBusy as busy:
        return f"{busy.holder} has the write lock"
    except StorageError as error:
        return str(error)


def _judge(pulses: Sequence[Pulse], ready: bool, name: str | None) -> Health:
    living = [one for one in pulses if one.lives]
    taking = [one for one in living if one.state == "ready"]
    whose = f"no worker {name} of this host" if name else "no worker of this host"
    if good := taking if ready else living:
        return Health(True, _told(good), list(pulses))
    if living:
        return Health(False, f"{whose} takes tasks: {_told(living)}", list(pulses))
    if pulses:
        return Health(False, f"{whose} lives: {_told(pulses)}", list(pulses))
    return Health(False, f"{whose} is on the file", [])


def _told(pulses: Iterable[Pulse]) -> str:
    return "; ".join(f"{one.name} (PID {one.pid}) {one.detail}" for one in pulses)
