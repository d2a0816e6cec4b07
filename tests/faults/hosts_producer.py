"""A producer of the drill with hosts: it sends until it is killed, and reports what was accepted.

A line on standard output means: the call that sent this had returned. Where a call cannot know whether its commit came
through it is made again under its own ids, which makes one message.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import hosts_app as h

from liteq import chain, chord
from liteq.exceptions import CanvasConflict, RunConflict, StorageError
from liteq.message import new_id

AHEAD = 60  # messages that are not done yet at most: what was sent in between is to be drained in a moment
WAITING = "SELECT count(*) FROM liteq_messages WHERE state IN ('pending', 'held', 'scheduled', 'blocked')"
KEYS = 4


def until_accepted(send: Callable[[], Any]) -> Any:
    """The answer of `send`, which is called until it has one. None where the ids stand already: it was accepted."""
    while True:
        try:
            return send()
        except StorageError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            time.sleep(0.2)
        except (CanvasConflict, RunConflict):
            return None


def task(sig: Any, value: int, **options: Any) -> None:
    id_ = new_id()
    result = until_accepted(lambda: sig.apply_async(task_id=id_, idempotent=True, **options))
    print(f"task {result.id if result else id_} {value}", flush=True)


def canvas(sig: Any, value: int) -> None:
    id_ = sig.freeze().id
    until_accepted(lambda: sig.apply_async(idempotent=True))
    print(f"task {id_} {value}", flush=True)


def run(n: int) -> None:
    id_ = f"order-{new_id()}"
    until_accepted(lambda: h.order.options(id=id_).start(n))
    print(f"run {id_} {100 + n}", flush=True)


def send_some(rng: random.Random) -> None:
    n, k = rng.randrange(1_000), rng.randrange(KEYS)
    task(h.work.s(n), n)
    task(h.work.s(n), n, countdown=rng.random() * 2)
    task(h.retried.s(n), n)
    task(h.keyed.s(k), 1_000 + k, unique_key=f"key-{k}")
    if rng.random() < 0.2:
        task(h.long.s(n), n)
    canvas(chain(h.work.s(n), h.add.s(1), h.add.s(2)), n + 3)
    inner = chord([h.work.s(1), h.work.s(2)], h.total.s())
    canvas(chord([h.work.s(n), inner, h.work.s(3)], h.total.s()), n + 6)
    run(n)


def wait_for_room() -> None:
    def waiting() -> int:
        with h.app.storage.driver.read() as tx:
            return int(tx.execute(WAITING)[0][0])

    while until_accepted(waiting) > AHEAD:
        time.sleep(0.02)


def main(seed: int) -> None:
    rng = random.Random(seed)
    while True:
        wait_for_room()
        send_some(rng)


if __name__ == "__main__":
    main(int(sys.argv[1]))
