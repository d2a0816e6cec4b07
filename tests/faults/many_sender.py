"""Sends the numbers up to a limit under one name; is killed in the midst of it again and again, and begins anew.

Each attempt is a process of its own, forked here before anything of the file is open. At last one comes to the end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator

from limits_app import plain

total, chunk, kills = map(int, sys.argv[1:])
rng = random.Random(1)


def numbers(pause_s: float) -> Iterator[int]:
    """As rows come out of a database, not all at once."""
    for n in range(total):
        time.sleep(pause_s)
        yield n


def send(told: int, pause_s: float) -> None:
    """In a child: a byte for each chunk that this attempt has sent."""
    done = 0

    def progress(sent: object) -> None:
        nonlocal done
        if sent.count > done:  # type: ignore[attr-defined]
            done = sent.count  # type: ignore[attr-defined]
            os.write(told, b".")

    sent = plain.send_many(numbers(pause_s), chunk=chunk, name="import", progress=progress)
    print(sent.count, sent.skipped, flush=True)


def attempt(chunks: int) -> int:
    """Fork a child that sends, and kill it somewhere behind so many chunks; 0: let it come to its end. Its status."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        send(writer, 0.0005 if chunks else 0.0)
        os._exit(0)
    os.close(writer)
    if chunks:
        while chunks:
            chunks -= len(os.read(reader, 1)) or chunks
        time.sleep(rng.random() * chunk * 0.0005)
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    os.close(reader)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    most = max(2 * (total // chunk) // (kills + 1) - 2, 1)
    ends = [attempt(rng.randint(1, most)) for _ in range(kills)]
    assert ends == [-signal.SIGKILL] * kills, ends
    assert attempt(0) == 0
