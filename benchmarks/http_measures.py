"""The measures of sending over HTTP: a gateway, a stand-in of SQS, a bare application, and a local call beside them.

A contestant offers `sender(port)`: a function of its own connection that sends the tasks `first` ... `first + n - 1` in
one request. `server(port)`: the commands that serve there; where it has none, it sends without one.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.processes import Workers, ticks_s

if TYPE_CHECKING:
    from benchmarks.measures import Bench

__all__ = ["HTTP_MEASURES", "requests"]

Figures = dict[str, Any]
Sender = Callable[[int, int], None]
START_S = 30.0


def requests(bench: Bench, seconds: float = 3.0, at_once: int = 1, senders: int = 1) -> Figures:
    """Tasks a second by `senders` connections of one process, each with a request at a time of `at_once` tasks.

    Also how long a request took, and the processor time of the server for each task: the sender's is not in it.
    """
    at_once = min(at_once, getattr(bench.peer, "MOST", at_once))
    sender = bench.offer("sender")
    with _served(bench) as (port, workers):
        sends = [sender(port) for _ in range(senders)]
        for n, send in enumerate(sends):  # it connects, and makes what is made once
            send(n * at_once, at_once)
        used, took, before = _used(workers), list[float](), time.perf_counter()
        end = before + seconds
        threads = [threading.Thread(target=_send_until, args=(send, at_once, end, took)) for send in sends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whole, used = time.perf_counter() - before, _used(workers) - used
    sent = len(took) * at_once
    cuts = statistics.quantiles(took, n=100)
    return {
        "tasks_per_s": sent / whole, "requests_per_s": len(took) / whole, "p50_ms": statistics.median(took) * 1000,
        "p99_ms": cuts[98] * 1000, "server_ms_per_task": used / sent * 1000,
    }  # fmt: skip


def _send_until(send: Sender, at_once: int, end: float, took: list[float]) -> None:
    first = 0
    while (began := time.perf_counter()) < end:
        send(first, at_once)
        took.append(time.perf_counter() - began)
        first += at_once


@contextmanager
def _served(bench: Bench) -> Iterator[tuple[int, Workers | None]]:
    """The port of the contestant's server, once it answers; 0 where it has none."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = getattr(bench.peer, "server", lambda _port: [])(port)
    if not commands:
        yield 0, None
        return
    with Workers(commands, bench.folder, bench.slots) as workers:
        give_up = time.monotonic() + START_S
        while not _answers(port):
            if time.monotonic() > give_up or workers.processes[0].poll() is not None:
                raise TimeoutError(f"nothing answers: {(bench.folder / 'workers.log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield port, workers


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _used(workers: Workers | None) -> float:
    """By the count of whole processes: a server may have a thread for each request, which has ended by now."""
    return 0.0 if workers is None else ticks_s(workers.tree())


HTTP_MEASURES = {"requests": requests}
