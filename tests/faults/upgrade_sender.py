"""Sends tasks, chains and chords of upgrade_app.py while a file is upgraded, and reports what was accepted.

A line on standard output means: the call that sent this had returned.
"""

from __future__ import annotations

import sys

from upgrade_app import add, total, work

from liteq import chain, chord


def main(rounds: int) -> None:
    for n in range(rounds):
        print(f"single {work.delay(n).id} {n}", flush=True)
        print(f"chain {chain(work.s(n), add.s(1), add.s(2)).apply_async().id} {n + 3}", flush=True)
        print(f"chord {chord([work.s(i) for i in range(5)], total.s()).apply_async().id} 10", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
