"""The processes of the concurrent suite: each works on the store by itself, and writes down what it was told.

`python actors.py ROLE URL SECONDS SEED LEDGER`. A producer and an operator end after so many seconds; the
others do so when the file `stop` is beside the ledger, and by then end all that they get.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from liteq.exceptions import CanvasConflict
from liteq.message import (
    Ack,
    Batch,
    DeadLetter,
    Exclusion,
    Flag,
    Group,
    Lease,
    Message,
    Outcome,
    Release,
    RetryAt,
    WorkerIdentity,
    new_id,
)
from liteq.serialization import encode_error
from liteq.states import State
from liteq.storage.driver import Bell
from liteq.storage.groups.open_groups import Seat
from liteq.storage.storage import Storage, open_storage

PAYLOAD = b"[[],{}]"
ERROR = encode_error(ValueError("no"))
QUEUES = ["q", "purged"]
LEASE_S = 0.5
RATE_PER_S, PLACES = 100, 2
KINDS, LEAST = 10, 60  # of what is sent; messages of a producer, however slow the machine is
EACH = 7  # by their tokens: of so many leases one is begun, one ends with something that follows
RATED, PLACED = '[null,"rate"]', '[null,"places"]'


class Actor:
    """A process: its storage, its dice, and its ledger."""

    def __init__(self, url: str, seconds: float, seed: int, ledger: Path) -> None:
        self.storage: Storage = open_storage(url)
        self.random = Random(seed)
        self.until = time.monotonic() + seconds
        self._stop = ledger.with_name("stop")
        self._ledger = ledger.open("w", encoding="utf-8")

    def note(self, what: str, **facts: Any) -> None:
        self._ledger.write(json.dumps({"what": what, **facts}) + "\n")

    @property
    def acts(self) -> bool:
        """Whether it is the time of mischief."""
        return time.monotonic() < self.until

    @property
    def goes_on(self) -> bool:
        return not self._stop.exists()

    def close(self) -> None:
        self.storage.close()
        self._ledger.close()


# -- sending -----------------------------------------------------------------------------------------------------------


def message(id_: str = "", **fields: Any) -> Message:
    return Message(id_ or new_id(), "t", PAYLOAD, **{"queue": "q", "flags": 0, **fields})


def linked(group: str | None, position: int = 0, **fields: Any) -> Message:
    return message(flags=Flag.LINKED, group_id=group, position=position, **fields)


def chain() -> Batch:
    first = linked(None)
    second = message(awaits=first.id, flags=Flag.LINKED | Flag.TAKES_INPUT)
    return Batch([first, second, message(awaits=second.id, flags=Flag.TAKES_INPUT)])


def nested_chord() -> Batch:
    """A chord of a task and a group; behind each stands a task."""
    outer, inner = new_id(), new_id()
    members = [linked(inner, n) for n in range(3)]
    groups = [Group(outer, 2), Group(inner, 3, group_id=outer, position=1)]
    bodies = [message(awaits=id_, flags=Flag.TAKES_INPUT) for id_ in (outer, inner)]
    return Batch([*members, linked(outer, 0), *bodies], groups)


def send_one_by_one(me: Actor) -> list[str]:
    """Open a group, send its members, one of them twice, and close it; the ids of its messages."""
    group, members = new_id(), [message(flags=Flag.LINKED) for _ in range(3)]
    body = message(awaits=group, flags=Flag.TAKES_INPUT)
    places = {one.id: Seat(group, n) for n, one in enumerate(members)}
    me.storage.groups.open(Batch([body], [Group(group, 0)]), places, queue="q")
    for one in (*members, members[0]):
        me.storage.groups.enter(Batch([one]))
    me.storage.groups.enter(Batch(closing=[(group, len(members))]))
    return [one.id for one in (*members, body)]


def produce(me: Actor) -> None:
    """Send all kinds, as fast as it goes, but no further ahead of the workers than some hundred."""
    ids: list[str] = []
    numbers = count(me.random.randrange(KINDS))
    while me.acts or len(ids) < LEAST:
        if me.storage.reader.waiting(QUEUES, limit=300) >= 300:
            time.sleep(0.01)
            continue
        now_ms = me.storage.clock.now_ms()
        n = next(numbers)
        kind = n % KINDS  # in turn: a slow machine does a bit of everything, too
        if kind == 0:
            batch = Batch([message(due_ms=now_ms + me.random.randrange(300))])
        elif kind == 1:
            batch = Batch([message(keys=RATED if n // KINDS % 2 else PLACED)])
        elif kind == 2:
            key = f"k{me.random.randrange(3)}"
            batch = Batch([message(unique_key=key, unique=me.random.choice((None, Exclusion())))])
        elif kind == 3:
            batch = nested_chord()
        elif kind == 4:
            batch = chain()
        elif kind == 5 and ids:
            batch = Batch([message(awaits=me.random.choice(ids[-20:]), flags=Flag.TAKES_INPUT)])
        elif kind == 6:
            many = [message() for _ in range(10)]
            me.storage.enqueue_many(many)
            me.note("sent", ids=[one.id for one in many])
            continue
        elif kind == 7:
            me.note("sent", ids=send_one_by_one(me))
            continue
        else:
            batch = Batch([message(queue=me.random.choice(QUEUES))])
        try:
            sent = me.storage.enqueue(batch)
        except CanvasConflict:  # it was to run behind something that has been purged
            continue
        me.note("sent", ids=sent)
        ids += [one.id for one in batch.messages if one.queue == "q"]


# -- working -----------------------------------------------------------------------------------------------------------


def outcome(me: Actor, lease: Lease) -> Outcome:
    dice = me.random.random() if me.acts else 0.0
    if dice < 0.75:
        return Ack(b"1", children=b"[]" if lease.token % EACH == 1 else None)
    if dice < 0.83:
        return DeadLetter(ERROR)
    if dice < 0.92 and lease.retries < 3:
        due_ms = me.storage.clock.now_ms() + me.random.randrange(100)
        if lease.token % 2:
            return RetryAt(due_ms, ERROR, task="another", retries=lease.retries + 1)
        return RetryAt(due_ms, ERROR)
    return Release()


def begin(me: Actor, leases: Sequence[Lease]) -> list[Lease]:
    """Let some begin, which run at most once from then on; those that are not over."""
    chosen = [lease for lease in leases if lease.token % EACH == 0]
    begun = me.storage.leases.begin(chosen) if chosen else []
    if begun:
        me.note("begun", n=len(begun))
    return [lease for lease in leases if lease.token % EACH] + begun


def follow_up(me: Actor, leases: Sequence[Lease]) -> list[Lease]:
    """End some with a message that follows, which is there with that end or not at all; the others."""
    rest = []
    for lease in leases:
        if lease.token % EACH != 2 or not me.acts:
            rest.append(lease)
            continue
        after, began = message(), time.monotonic_ns()
        if not me.storage.settle([(lease, Ack(b"1"))], also=Batch([after])):
            me.note("ended", id=lease.id, token=lease.token, began=began)
            me.note("sent", ids=[after.id])
            me.note("followed", id=after.id)
        else:
            me.note("dropped", id=after.id)
    return rest


def work(me: Actor) -> None:
    """Claim, settle, and sometimes keep a lease until it is over before its outcome is told."""
    storage = me.storage
    worker = storage.register_worker(WorkerIdentity(new_id(), f"w{os.getpid()}", "host", "boot", os.getpid(), "1"))
    ear, numbers = storage.listen(Bell.WORK), count()
    held: list[Lease] = []
    stalled: list[tuple[float, Lease]] = []
    while me.goes_on:
        now = time.monotonic()
        late = [lease for over, lease in stalled if over <= now]
        stalled = [one for one in stalled if one[0] > now]
        settled: list[tuple[Lease, Outcome]] = [(lease, Ack(b"1")) for lease in late]
        settled += [(lease, outcome(me, lease)) for lease in held]
        told = {lease.token: f"{os.getpid()}-{next(numbers)}" for lease, _ in settled}
        events = [(token, json.dumps(text).encode()) for token, text in told.items()]
        began = time.monotonic_ns()
        turn = storage.turn(settled, QUEUES, worker=worker, limit=8, visibility_s=LEASE_S, events=events)
        ended = time.monotonic_ns()
        lost = {lease.token for lease in turn.lost}
        for lease, end in settled:
            if lease.token not in lost:
                how = type(end).__name__
                me.note("settled", id=lease.id, token=lease.token, how=how, began=began, event=told[lease.token])
        leases = begin(me, turn.leases)
        for lease in turn.leases:
            me.note("claimed", id=lease.id, token=lease.token, began=began, ended=ended)
        leases = follow_up(me, leases)
        stalls = [lease for lease in leases if me.acts and me.random.random() < 0.04]
        stalled += [(time.monotonic() + 1.2 * LEASE_S, lease) for lease in stalls]
        held = [lease for lease in leases if lease not in stalls]
        if not held:
            ear.wait(0.02)
    ear.close()
    storage.unregister_worker(worker)


# -- the others --------------------------------------------------------------------------------------------------------


def operate(me: Actor) -> None:
    """Cancel, purge, replay, and give commands."""
    storage, numbers = me.storage, count()
    while me.acts:
        waiting = [one.id for one in storage.reader.messages(me.random.choice((State.PENDING, State.BLOCKED)), limit=9)]
        if waiting:
            storage.cancel(me.random.sample(waiting, min(2, len(waiting))))
        me.note("purged", n=storage.purge(["purged"]))
        me.note("replayed", ids=storage.dead.requeue(storage.dead.matching(limit=3)))
        name = f"{os.getpid()}-{next(numbers)}"
        storage.commands.send(name, b"{}", None, wants_reply=False, expires_s=600)
        me.note("command", name=name)
        if storage.exchanges.send("all", name.encode()):
            me.note("passed", name=name)
        time.sleep(me.random.random() * 0.02)


def reap(me: Actor) -> None:
    """End the leases that are over."""
    while me.goes_on:
        me.note("reaped", n=me.storage.reap())
        time.sleep(0.03)


def follow(me: Actor) -> None:
    """Read each event, each command and each message that passes behind the last one seen."""
    event = command = 0
    place = me.storage.exchanges.listen("all", "follower", patience_s=600)
    goes_on = True
    while goes_on:
        goes_on = me.goes_on  # one look more, when all have ended
        for number, document in me.storage.events.after(event, 1_000_000):
            event = number
            me.note("event", text=json.loads(document))
        for one in me.storage.commands.after(command):
            command = one.id
            me.note("seen", name=one.name)
        for passed in me.storage.exchanges.after("all", place):
            place = passed.place
            me.note("heard", name=passed.body.decode())
        me.storage.exchanges.renew("all", "follower", place, patience_s=600)
        time.sleep(0.002)


ROLES: dict[str, Callable[[Actor], None]] = {
    "producer": produce,
    "worker": work,
    "operator": operate,
    "reaper": reap,
    "follower": follow,
}

if __name__ == "__main__":
    role, url, seconds, seed, ledger = sys.argv[1:]
    me = Actor(url, float(seconds), int(seed), Path(ledger))
    try:
        ROLES[role](me)
    finally:
        me.close()
