"""The pool of the relay: a lease is executed by sending its call to the gateway.

One thread sends, batch after batch in the order in which they were claimed, so a queue's order is kept. While the
gateway is away the messages wait in the queue, where everybody sees how many they are and how old; one of them at a
time is leased to find out whether it answers again.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from liteq.clock import from_ms
from liteq.context import App
from liteq.edge.relaying.client import Away, Client
from liteq.exceptions import BadMessage, LeaseLost, RemoteError
from liteq.message import Ack, DeadLetter, Flag, Lease, Outcome, Ran, Release
from liteq.serialization import encode, encode_error, kind_of
from liteq.storage.limits.ledger import parsed
from liteq.utils.records import NamedTuple
from liteq.worker.pool.base import Loop, RunningLease
from liteq.worker.pool.page import StepNow

__all__ = ["PostPool"]

logger = logging.getLogger("liteq.relay")

WINDOW: Final = 1_000  # leases that are here at a time
BATCH: Final = 200  # calls of one request
BATCH_BYTES: Final = 512 * 1024  # ... and their size, unless one alone is larger: half of what a gateway takes
FIRST_S, LONGEST_S = 0.2, 30.0  # between two attempts while the gateway is away
ASK_S: Final = 1.0  # between two looks for results
ENDS_S: Final = 5.0  # that a thread has to end


class Taken(NamedTuple):
    """A lease that the gateway has taken; `id`: of the task there, which may be another that has its unique key."""

    lease: Lease
    id: str


class PostPool:
    """Sends leases by `client`. See `Pool` for what the methods promise.

    `results`: a lease ends with the result of its task there, which is asked for; else as it is taken.
    """

    name = "relay"
    size = 1

    def __init__(self, app: App, client: Client, *, results: bool = False) -> None:
        self.timings: dict[int, Ran] = {}
        self.exits: Counter[str] = Counter()
        self._app = app
        self._client = client
        self._results = results
        self._changed = threading.Condition()
        self._waiting: dict[int, Lease] = {}  # in the order in which they came
        self._there: dict[int, Taken] = {}  # their results are awaited
        self._outcomes: list[tuple[Lease, Outcome]] = []
        self._sending: dict[int, Lease] = {}
        self._ended = self._rests = False  # rests: until the next attempt nothing is leased
        self._away = ""
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._threads = [threading.Thread(target=self._work, name="liteq-relay", daemon=True)]
        if results:
            self._threads.append(threading.Thread(target=self._ask, name="liteq-relay-results", daemon=True))

    # -- for the loop --------------------------------------------------------------------------------------------------

    def start(self, loop: Loop) -> None:
        self._loop = loop
        loop.watch(self._ours.fileno(), self._clear)
        for thread in self._threads:
            thread.start()

    def _clear(self) -> None:
        with suppress(BlockingIOError):
            while self._ours.recv(4096):
                pass
        self._loop.look()  # there may be room again

    def _wake(self) -> None:
        with suppress(BlockingIOError, OSError):
            self._theirs.send(b"\0")

    def capacity(self) -> int:
        with self._changed:
            if self._rests or self._away:
                return 0 if self._rests or self._waiting or self._sending else 1
            return max(0, WINDOW - len(self._waiting) - len(self._sending) - len(self._there))

    def submit(self, leases: list[Lease]) -> None:
        with self._changed:
            self._waiting.update((lease.token, lease) for lease in leases)
            self._changed.notify_all()

    def collect(self) -> list[tuple[Lease, Outcome]]:
        with self._changed:
            outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def leases(self) -> list[Lease]:
        with self._changed:
            held = [*self._sending.values(), *self._waiting.values(), *(one.lease for one in self._there.values())]
            return [*held, *(lease for lease, _ in self._outcomes)]

    def tend(self, _now: float) -> float | None:
        return None

    def take_back(self) -> list[Lease]:
        """Those that were not sent, and those whose results are awaited: another relay goes on with these."""
        with self._changed:
            taken = [*self._waiting.values(), *(one.lease for one in self._there.values())]
            self._waiting.clear()
            self._there.clear()
        if self._away:  # nothing is known to be under way: the attempt may last
            self._client.interrupt()
        return taken

    def abandon(self, leases: Sequence[Lease]) -> None:
        self.withdraw({lease.token for lease in leases})
        with self._changed:
            for lease in leases:
                self._there.pop(lease.token, None)
                self._sending.pop(lease.token, None)

    def running(self) -> list[RunningLease]:
        return []

    def leave_runs(self) -> None: ...

    def steps(self) -> list[StepNow]:
        return []

    def end_overdue(self, _now: float) -> None: ...

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        with self._changed:
            return [self._waiting.pop(token) for token in tokens & self._waiting.keys()]

    def terminate(self, _tokens: set[int], _signum: int, _outcome: Callable[[Lease], Outcome]) -> bool:
        return False

    def renew(self) -> None: ...

    def resize(self, _size: int) -> None: ...

    def pids(self) -> list[int]:
        return [os.getpid()]

    def kill(self) -> None:
        self._end()

    def stop(self) -> None:
        self._end()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(ENDS_S)
        if not any(thread.is_alive() for thread in self._threads):  # else one is connecting, and ends with the process
            self._client.close()
        self._ours.close()
        self._theirs.close()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._client.interrupt()

    # -- sending -------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        pause_s = FIRST_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or bool(self._waiting))
                if self._ended:
                    return
                leases = list(self._waiting.values())[:BATCH]
                for lease in leases:
                    self._sending[lease.token] = self._waiting.pop(lease.token)
            try:
                self._send(leases)
            except Away as away:
                self._again(away)
                pause_s = self._rest(pause_s, away.after_s)
            except Exception:
                logger.exception("a batch could not be sent; it is tried again")
                self._again(None)
                pause_s = self._rest(pause_s, None)
            else:
                pause_s = FIRST_S
                if self._away:
                    self._away = ""
                    logger.warning("the gateway answers again")
                    self._wake()

    def _rest(self, pause_s: float, asked_s: float | None) -> float:
        """Wait before the next attempt; how long the one after it is to wait."""
        seconds = max(random.uniform(pause_s / 2, pause_s), asked_s or 0.0)
        with self._changed:
            self._changed.wait_for(lambda: self._ended, seconds)
            self._rests = False
        self._wake()
        return min(pause_s * 2, LONGEST_S)

    def _again(self, away: Away | None) -> None:
        """Give back what was being sent, and what was to come behind it."""
        if away is not None and not self._away:
            self._away = str(away)
            logger.warning("%s; messages wait here until it answers", away)
        with self._changed:
            self._rests = True
            self._outcomes += [(lease, Release()) for lease in (*self._sending.values(), *self._waiting.values())]
            self._sending.clear()
            self._waiting.clear()
        self._wake()

    def _send(self, leases: Sequence[Lease]) -> None:
        """Send leases in their order, in as many requests as their sizes ask for. Raises Away."""
        batch, size = list[tuple[Lease, dict[str, Any]]](), 0
        for lease in leases:
            try:
                call = call_of(self._app, lease)
            except (BadMessage, LeaseLost) as exc:
                self._ends(lease, DeadLetter(encode_error(exc)))
                continue
            if call is None:
                self._ends(lease, Release(pause_ms=60_000, options=lease.options, elsewhere=True))
                continue
            length = len(orjson.dumps(call))
            if batch and size + length > BATCH_BYTES:
                self._post(batch)
                batch, size = [], 0
            batch.append((lease, call))
            size += length
        if batch:
            self._post(batch)

    def _post(self, batch: Sequence[tuple[Lease, dict[str, Any]]]) -> None:
        reply = self._client.send([call for _, call in batch])
        if not reply.detail:
            for (lease, _), told in zip(batch, reply.document["tasks"], strict=True):
                self._taken(Taken(lease, str(told.get("id") or lease.id)))
        elif len(batch) == 1:
            ((lease, _),) = batch
            logger.error("%s[%s] is a dead letter: %s", lease.task, lease.id, reply.detail)
            self._ends(lease, DeadLetter(encode_error(RemoteError(reply.detail, type_name="Refused"))))
        else:  # one of them: the others are not to wait for it
            half = len(batch) // 2
            self._post(batch[:half])
            self._post(batch[half:])

    def _taken(self, one: Taken) -> None:
        lease = one.lease
        if self._results:
            with self._changed:
                if self._sending.pop(lease.token, None) is not None:
                    self._there[lease.token] = one
                self._changed.notify_all()
        else:
            self._ends(lease, Ack(None if lease.flags & Flag.IGNORE_RESULT else b"null"))

    def _ends(self, lease: Lease, outcome: Outcome) -> None:
        with self._changed:
            sent, taken = self._sending.pop(lease.token, None), self._there.pop(lease.token, None)
            if sent is None and taken is None:
                return  # abandoned, or given back
            self._outcomes.append((lease, outcome))
        self._wake()

    # -- results -------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        told = ""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or bool(self._there))
                if self._ended:
                    return
                there = list(self._there.values())
            for one in there:
                try:
                    self._look(one)
                except Away as away:
                    if not self._away and str(away) != told:  # else the other thread has told of it
                        told = str(away)
                        logger.warning("%s; results are asked for again", away)
                    break
                except Exception:
                    logger.exception("the result of %s[%s] cannot be read", one.lease.task, one.id)
            with self._changed:
                self._changed.wait_for(lambda: self._ended, ASK_S)

    def _look(self, one: Taken) -> None:
        lease, reply = one.lease, self._client.task(one.id)
        if reply.detail:
            self._ends(lease, DeadLetter(encode_error(RemoteError(reply.detail, type_name="Refused"))))
            return
        document = reply.document
        match document["state"]:
            case "SUCCESS":
                self._ends(lease, Ack(encode(document["result"], what="a result of the gateway")))
            case "FAILURE" | "REVOKED" | "REJECTED" | "IGNORED" as state:
                error = document["error"] or {"type": state, "message": ""}
                raised = RemoteError(error["message"], type_name=error["type"])
                self._ends(lease, DeadLetter(encode_error(raised)))


def call_of(app: App, lease: Lease) -> dict[str, Any] | None:
    """The call of a lease, as `POST /v1/tasks` takes it; None for what no gateway takes: a run of a workflow.

    Raises BadMessage for arguments that are no JSON.
    """
    if lease.flags & Flag.RUN:
        logger.error("%s[%s] is a run, which stays with the workers of this queue", lease.task, lease.id)
        return None
    whole = lease if lease.payload else app.storage.reader.with_payload(lease)
    if kind_of(whole.payload) is not None:
        logger.error("%s[%s] has arguments that are no JSON, and stays here", lease.task, lease.id)
        return None
    args, kwargs = orjson.loads(whole.payload)
    if lease.flags & Flag.TAKES_INPUT and lease.flags & Flag.ON_FAILURE:
        args = [lease.awaits, *args]
    elif lease.flags & Flag.TAKES_INPUT and lease.input is not None:
        found = lease.input or app.storage.reader.input_of(lease.awaits or "")
        if kind_of(found) is not None:
            logger.error("%s[%s] awaited a result that is no JSON, and stays here", lease.task, lease.id)
            return None
        args = [orjson.loads(found), *args]
    options = orjson.loads(lease.options or b"{}")
    hard, soft = [*(options.get("timelimit") or ()), None, None][:2]
    call = {
        "id": lease.id, "task": lease.task, "args": args, "kwargs": kwargs, "encoded": True, "queue": lease.queue,
        "priority": lease.priority, "headers": options.get("headers"), "time_limit": hard,
        "soft_time_limit": soft, "ignore_result": True if lease.flags & Flag.IGNORE_RESULT else None,
        "expires": None if lease.expires_ms is None else from_ms(lease.expires_ms).isoformat(),
        **_kept(app, lease, options),
    }  # fmt: skip
    return {name: value for name, value in call.items() if value is not None}


def _literal(key: str | list[str]) -> str | list[str]:
    """A key, or several, as templates of nothing but text."""
    return key.replace("{", "{{").replace("}", "}}") if isinstance(key, str) else [str(_literal(one)) for one in key]


def _kept(app: App, lease: Lease, options: dict[str, Any]) -> dict[str, Any]:
    """The words of the call on its search, its log and its turn.

    The gateway may not know the names of its arguments: of keys that take some it gets what was made of them here; but
    a `concurrency_key` or `rate_key` of such is left to the task there.
    """
    said = options.get("keyed", {})
    found: dict[str, Any] = {name: key for name, key in said.items() if "{" not in str(key)}
    if not found.keys() >= said.keys() & {"fair_key", "limits"}:
        record = app.storage.reader.find(lease.id)
        keys = parsed(None if record is None else record.keys)
        made = {"fair_key": keys.fair, "limits": [key for key in keys.limits if not key.startswith("task:")]}
        found |= {name: _literal(one) for name, one in made.items() if one and name in said and name not in found}
    if lease.flags & Flag.TAGGED:
        found["tags"] = app.storage.views.tags(lease.id)
    if (keep_ms := options.get("log_keep")) is not None:
        found["log_keep"] = keep_ms / 1000
    return found
