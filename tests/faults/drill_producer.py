"""A producer of the kill drills: it sends tasks, chains and chords until it is killed, and reports what was accepted.

A line on standard output means: the call that sent this had returned.
"""

from __future__ import annotations

import itertools
import sys

from drill_app import add, total, work

from liteq import chain, chord


def main(limit: int) -> None:
    for n in itertools.islice(itertools.count(), limit):
        single = work.delay(n)
        print(f"single {single.id} {n}", flush=True)
        links = chain(work.s(n), add.s(1), add.s(2)).apply_async()
        print(f"chain {links.id} {n + 3}", flush=True)
        body = chord([work.s(i) for i in range(5)], total.s()).apply_async()
        print(f"chord {body.id} {sum(range(5))}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
