"""A producer of the Litestream drills: it sends numbered tasks in their order until it is killed.

Each tenth waits for its copy. A line on standard output means: the call had returned.
"""

from __future__ import annotations

import itertools
import sys

from drill_app import work
from drill_producer import wait_for_room

from liteq.exceptions import NotReplicated


def main(first: int) -> None:
    for n in itertools.count(first):
        replicated = n % 10 == 0
        if replicated:
            wait_for_room()
        try:
            work.apply_async((n,), task_id=f"n{n}", replicated=replicated)
        except NotReplicated as exc:
            print(f"unknown {n}", flush=True)
            print(exc, file=sys.stderr, flush=True)
        else:
            print(f"{'replicated' if replicated else 'sent'} {n}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
