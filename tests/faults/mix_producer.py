"""A producer of the long mix: it sends canvases by its seed until it is killed, and reports what was accepted.

A line on standard output means: the call that sent this had returned. A call that raises has written nothing, which the
oracle sees; any other error than those that may be is the end of the producer.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import mix_app as m

from liteq import chain, chord
from liteq.exceptions import CanvasConflict, StorageBusy

AHEAD = 150  # messages that are not done yet at most: what was sent in between is to be drained in a moment
WAITING = "SELECT count(*) FROM liteq_messages WHERE state IN ('pending', 'held', 'scheduled')"
KEYS = 4
REPLACED = ("own", "chain", "chord", "key", "none")


class Sender:
    """Signatures at random, each with the number that it comes to."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def leaf(self) -> tuple[Any, int]:
        rng = self.rng
        n, k = rng.randrange(10, 1_000), rng.randrange(KEYS)
        kinds = [
            (m.work.si(n), n),
            (m.work.si(n, pad="y" * m.LARGE), n),
            (m.large.si(n, "y" * m.LARGE), n),
            (m.by_key(k), 1_000 + k),
            (m.by_key(k), 1_000 + k),
            (m.flaky.si(n), n),
            (m.retried.si(n), n),
            (m.limited.si(n), n),
            (m.shared.si(n), n),
            (m.narrow.si(n, k), n),
            (m.fair.si(n, k), n),
            (m.polite.si(n), n),
            (m.together.si(n), n),
            (m.grows.si(n), n),
            (m.replaced.si(1_000 + k, rng.choice(REPLACED)), 1_000 + k),
            (m.replaced.si(1_000 + k, rng.choice(REPLACED)), 1_000 + k),
        ]
        if rng.random() < 0.1:
            kinds = [(m.soft.si(n), n), (m.overdue.si(n), n)]
        sig, value = rng.choice(kinds)
        if rng.random() < 0.2:
            sig.set(countdown=rng.random(), priority=rng.randrange(10))
        if rng.random() < 0.1:
            sig.link(m.by_key(rng.randrange(KEYS)))
        if rng.random() < 0.1:
            sig.link_error(m.failed.s().set(unique_key=f"errback-{k}"))
        return sig, value

    def canvas(self, depth: int) -> tuple[Any, int]:
        shape = self.rng.choice(["leaf", "chain", "chord", "chord"] if depth else ["leaf"])
        if shape == "leaf":
            return self.leaf()
        if shape == "chain":
            sig, value = self.canvas(depth - 1)
            steps = [self.rng.randrange(1, 9) for _ in range(self.rng.randrange(1, 3))]
            return chain(sig, *(m.add.s(step) for step in steps)), value + sum(steps)
        parts = [self.canvas(depth - 1) for _ in range(self.rng.randrange(1, 5))]
        values = [value for _, value in parts]
        body = m.total.s(values)
        if self.rng.random() < 0.2:
            body.set(countdown=self.rng.random() / 2)
        return chord([sig for sig, _ in parts], body), sum(values)

    def send(self) -> None:
        if self.rng.random() < 0.1:
            ignored = m.work.apply_async((0,), ignore_result=True)
            print(f"ignored {ignored.id} 0", flush=True)
            return
        sig, value = self.canvas(2)
        again = self.rng.random() < 0.1
        if again:
            sig.freeze()
        for _ in range(1 + again):  # under its own ids: what stands already, or a refusal
            result = sig.apply_async()
            print(f"value {result.id} {value}", flush=True)


def wait_for_room() -> None:
    while True:
        with m.app.storage.driver.read() as tx:
            if tx.execute(WAITING)[0][0] < AHEAD:
                return
        time.sleep(0.02)


def main(seed: int) -> None:
    sender = Sender(seed)
    while True:
        try:
            wait_for_room()
            sender.send()
        except (CanvasConflict, StorageBusy) as exc:
            print(f"{type(exc).__name__}: {exc}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
