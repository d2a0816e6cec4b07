"""A process of several senders of Celery's: greenlets, or threads.

    python -m benchmarks.peers.celery_senders greenlets|threads HOW_MANY FIRST TASKS

It stamps the slot `FIRST` when it is connected, begins once the slot 0 is stamped, and stamps `FIRST` + 1 when all are
sent. Then it waits to be stopped, as a worker does.
"""

from __future__ import annotations

import sys

if sys.argv[1] == "greenlets":
    from gevent import monkey

    monkey.patch_all()

import signal
import threading
import time


def main(senders: int, first: int, tasks: int) -> None:
    from benchmarks.peers.celery_any import noop, slots

    def send_some(n: int) -> None:
        for _ in range(n):
            noop.delay(slots.n - 1)

    noop.delay(slots.n - 1)
    slots.stamp(first)
    while not slots.at(0):
        time.sleep(0.001)
    shares = [tasks // senders + (i < tasks % senders) for i in range(senders)]
    threads = [threading.Thread(target=send_some, args=(n,)) for n in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slots.stamp(first + 1)
    signal.pause()


if __name__ == "__main__":
    main(*map(int, sys.argv[2:]))
