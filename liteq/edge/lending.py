"""Leases for programs in any language: a message as JSON, and what becomes of it by the lease's number and token.

A lease is named `<seq>:<token>`. The fencing token in it is new with each claim, so a name that is out of date, of a
message that somebody else has by now, is refused.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from liteq.context import App
from liteq.edge.http import Problem
from liteq.edge.keys import Key
from liteq.edge.presence import Presence
from liteq.exceptions import BadMessage, LiteqError, MaxRetriesExceededError, RemoteError, StorageError
from liteq.message import Ack, DeadLetter, Flag, Lease, Outcome, Release, RetryAt
from liteq.policy.retry import exhausted
from liteq.serialization import decode, encode, encode_error, kind_of
from liteq.storage.driver import Bell
from liteq.utils.records import NamedTuple
from liteq.worker.revoking import revoked_outcome

__all__ = ["Lender", "Lent"]

logger = logging.getLogger("liteq.gateway")

T = TypeVar("T")

MOST_WAITING = 64  # requests at a time that are held until something comes; the others are answered at once
LOOK_S = 1.0  # a ring may be lost
OVER = "this lease is over: the message was given to another worker, has ended or is revoked"
ELSEWHERE_MS = 1_000  # until the queue's own workers may have what no program beside may
NUMBER = re.compile(r"[0-9]{1,19}")
MOST = 2**63 - 1  # that a column of the queue holds
LATEST_RETRY_S = 400 * 86_400.0


class Lent(NamedTuple):
    """A lease, the arguments of its call, and when it ends, in ms since the epoch."""

    lease: Lease
    args: list[Any]
    kwargs: dict[str, Any]
    deadline_ms: int

    @property
    def name(self) -> str:
        """The lease's name, by which it is settled."""
        return f"{self.lease.seq}:{self.lease.token}"


class Lender:
    """Claims and settles for programs. `presence` is the worker whose leases these are."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.presence = Presence(app)
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._is_over = False

    def close(self) -> None:
        """Lend no more, not to those that wait either; what is lent goes back to its queue."""
        self._is_over = True
        self.presence.leave()

    # -- waiting -------------------------------------------------------------------------------------------------------

    def until(self, bell: Bell, look: Callable[[], T], seconds: float) -> T:
        """`look()`, again at each ring of `bell` until it finds something, or `seconds` are over."""
        if (found := look()) or seconds <= 0 or not self._waiting.acquire(blocking=False):
            return found
        try:
            return self._wait(bell, look, seconds)
        finally:
            self._waiting.release()

    def _wait(self, bell: Bell, look: Callable[[], T], seconds: float) -> T:
        clock = self.app.clock
        end = clock.monotonic() + seconds
        with self._listening(bell) as listener:
            while True:
                found = look()
                left = end - clock.monotonic()
                if found or left <= 0 or self._is_over:
                    return found
                listener.wait(min(left, LOOK_S))

    @contextmanager
    def _listening(self, bell: Bell) -> Iterator[Any]:
        storage = self.app.storage
        if bell is Bell.DONE:
            with storage.hearing() as listener:
                yield listener
            return
        listener = storage.listen(bell)
        try:
            yield listener
        finally:
            listener.close()

    # -- claiming ------------------------------------------------------------------------------------------------------

    def lend(self, key: Key, queues: Sequence[str], *, most: int, visibility_s: float, wait_s: float) -> list[Lent]:
        """Lease up to `most` messages of `queues`; [] after `wait_s` seconds in which there was none."""
        worker = self.presence.number(queues)
        return self.until(Bell.WORK, lambda: self._claim(key, worker, queues, most, visibility_s), wait_s)

    def _claim(self, key: Key, worker: int, queues: Sequence[str], most: int, visibility_s: float) -> list[Lent]:
        storage = self.app.storage
        if self._is_over:
            return []
        budget = storage.limits.unlimited()
        turn = storage.turn((), queues, worker=worker, limit=most, visibility_s=visibility_s, budget=budget)
        if not turn.leases:
            return []
        deadline_ms = storage.clock.now_ms() + int(visibility_s * 1000)
        self.presence.ends_in(visibility_s)
        lent, settled = list[Lent](), list[tuple[Lease, Outcome]]()
        for lease in turn.leases:
            found = self._delivered(key, lease, deadline_ms)
            if isinstance(found, Lent):
                lent.append(found)
            else:
                settled.append((lease, found))
        if settled:
            try:
                storage.settle(settled)
            except StorageError as exc:  # those that are lent are not to be lost with them
                logger.warning("%d leases stay until they run out: %s", len(settled), exc)
        return lent

    def _delivered(self, key: Key, lease: Lease, deadline_ms: int) -> Lent | Outcome:
        """The lease as its program gets it; or what is to become of it at once."""
        app = self.app
        if lease.expires_ms is not None and app.clock.now_ms() >= lease.expires_ms and not lease.flags & Flag.CURSOR:
            return revoked_outcome(app, lease, "gateway", terminated=False, expired=True)
        elsewhere = Release(pause_ms=ELSEWHERE_MS, options=lease.options)
        if lease.flags & Flag.RUN or not key.knows(lease.task):
            return elsewhere
        try:
            whole = app.storage.reader.with_payload(lease) if not lease.payload else lease
            if kind_of(whole.payload) is not None:  # pickle, and the like
                return elsewhere
            args, kwargs = self._arguments(whole)
        except LiteqError as exc:
            logger.warning("%s[%s] cannot be read, and is left to workers: %s", lease.task, lease.id, exc)
            return elsewhere
        try:
            if lease.flags & Flag.EARLY_ACK and not app.storage.leases.begin([lease]):
                return Release()
        except StorageError as exc:
            logger.warning("%s[%s] goes back: %s", lease.task, lease.id, exc)
            return Release()
        return Lent(lease, args, kwargs, deadline_ms)

    def _arguments(self, lease: Lease) -> tuple[list[Any], dict[str, Any]]:
        """Its own, with the result that it awaited in front; of an errback the id of what failed."""
        args, kwargs = decode(lease.payload)
        if lease.flags & Flag.TAKES_INPUT:
            if lease.flags & Flag.ON_FAILURE:
                args = [lease.awaits, *args]
            elif lease.input is not None:
                found = lease.input or self.app.storage.reader.input_of(lease.awaits or "")
                args = [decode(found) if found else None, *args]
        return args, kwargs

    # -- settling ------------------------------------------------------------------------------------------------------

    def find(self, key: Key, name: str) -> Lease:
        """The lease called `name`. Raises Problem: 404 for what is no such name, 409 where it is over."""
        seq, _, token = name.partition(":")
        if not all(NUMBER.fullmatch(part) and int(part) <= MOST for part in (seq, token)):
            raise Problem(404, "a lease is called <seq>:<token>, as the answer to POST /v1/leases has it")
        lease = self.app.storage.leases.find(int(seq), int(token))
        if lease is None or not key.sees(lease.queue) or not key.knows(lease.task) or lease.flags & Flag.RUN:
            raise Problem(409, OVER)
        return lease

    def settle(self, lease: Lease, outcome: Outcome) -> None:
        """Store the outcome with all that follows from it. Raises Problem 409 where the lease is over."""
        if self.app.storage.settle([(lease, outcome)]):
            raise Problem(409, OVER)

    def extend(self, lease: Lease, visibility_s: float) -> int:
        """Let the lease end `visibility_s` seconds from now; the moment, in ms since the epoch. Raises as `settle`."""
        if not self.app.storage.leases.extend(lease.seq, lease.token, visibility_s):
            raise Problem(409, OVER)
        self.presence.ends_in(visibility_s)
        return self.app.storage.clock.now_ms() + int(visibility_s * 1000)

    def acknowledged(self, lease: Lease, result: Any) -> Ack:
        """The outcome of a task that returned `result`. Raises Problem for one that is too large."""
        if lease.flags & Flag.IGNORE_RESULT and not lease.flags & Flag.LINKED:
            return Ack(None)
        conf = self.app.conf
        try:
            document = encode(
                result, what="the result", limit=conf.max_result_bytes, setting="max_result_bytes",
                max_depth=conf.max_nesting,
            )  # fmt: skip
        except BadMessage as exc:
            raise Problem(413, str(exc)) from None
        return Ack(document)

    def failed(self, kind: str, message: str) -> DeadLetter:
        """The outcome of a task that raised an error called `kind`."""
        return DeadLetter(encode_error(_raised(kind, message)))

    def retried(self, lease: Lease, delay_s: float, message: str) -> RetryAt | DeadLetter:
        """The outcome of a task that is to be tried again; a dead letter after its `max_retries`."""
        task = self.app.tasks.get(lease.task)
        most = 3 if task is None else task.max_retries
        if exhausted(lease.retries, most):
            text = f"Can't retry {lease.task}[{lease.id}]: it was retried {lease.retries} times"
            return DeadLetter(encode_error(MaxRetriesExceededError(f"{text}: {message}" if message else text)))
        delay_ms = int(delay_s * 1000)
        error = encode_error(_raised("Retry", message)) if message else None
        return RetryAt(self.app.storage.clock.now_ms() + delay_ms, error, delay_ms=delay_ms)


def _raised(kind: str, message: str) -> RemoteError:
    """An error of another program."""
    return RemoteError(message, type_name=kind)
