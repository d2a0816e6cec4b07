"""A producer of the kill drills: it sends tasks, chains and chords until it is killed, and reports what was accepted.

A line on standard output means: the call that sent this had returned.
"""

from __future__ import annotations

import itertools
import sys
import time

from drill_app import add, app, total, work

from liteq import chain, chord

AHEAD = 300  # messages that wait to run at most: what is killed in between is to be drained in a moment
WAITING = "SELECT count(*) FROM liteq_messages WHERE state = 'pending'"


def wait_for_room() -> None:
    while True:
        with app.storage.driver.read() as tx:
            if tx.execute(WAITING)[0][0] < AHEAD:
                return
        time.sleep(0.005)


def main(limit: int) -> None:
    for n in itertools.islice(itertools.count(), limit):
        if n % 10 == 0:
            wait_for_room()
        single = work.delay(n)
        print(f"single {single.id} {n}", flush=True)
        links = chain(work.s(n), add.s(1), add.s(2)).apply_async()
        print(f"chain {links.id} {n + 3}", flush=True)
        body = chord([work.s(i) for i in range(5)], total.s()).apply_async()
        print(f"chord {body.id} {sum(range(5))}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
