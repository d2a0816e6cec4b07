"""Starts runs and sends tasks under a limit, until it is killed, and reports what was accepted.

A line on standard output means: the call that sent this had returned.
"""

from __future__ import annotations

import itertools
import os
import sys
import time

import everything_app as m

from liteq.exceptions import StorageBusy

AHEAD = 40  # that have not ended, beside those of the mix
OPEN = "SELECT count(*) FROM liteq_messages WHERE finished_ms IS NULL AND task LIKE 'everything_app.%'"


def wait_for_room() -> None:
    while True:
        with m.app.storage.driver.read() as tx:
            if tx.execute(OPEN)[0][0] < AHEAD:
                return
        time.sleep(0.05)


def send(n: int) -> None:
    run = m.order.options(id=f"order-{os.getpid()}-{n}").start(n)
    print(f"run {run.id} {n}", flush=True)
    for k in range(3):
        print(f"value {m.placed.delay(n, k).id} {n}", flush=True)


def main() -> None:
    for n in itertools.count():
        try:
            wait_for_room()
            send(n)
        except StorageBusy as exc:
            print(f"StorageBusy: {exc}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
