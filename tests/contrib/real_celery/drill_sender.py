"""Sends what the drill runs: `python drill_sender.py SEED FIRST`, until its standard input ends.

It prints one line for each canvas that was accepted: what it is, the id of its result, those of its parts, and the
value that it has to have. A canvas is behind a line that was printed, or nobody knows whether it is there.
"""

from __future__ import annotations

import json
import select
import sys
import time
from itertools import count
from random import Random

from celery import chain, chord
from celery.result import GroupResult
from drill_shop import app

BIG = 120
AHEAD = 60  # messages that may wait before it sends the next


def sig(name, *args, **options):
    return app.signature(f"drill.{name}", args, **options)


def step(n):
    return sig("step", n)


def canvas(kind: str, n: int):
    """The canvas of a kind, and what its result is to be."""
    more = sig("step")
    match kind:
        case "one":
            return step(n), n + 1
        case "again":
            return sig("again", n), n + 1
        case "chain":
            return chain(step(n), more, sig("step"), app=app), n + 3
        case "watched":
            told = [sig("told_id", n, task_id=f"told-{n}"), sig("told_all", n)]
            return chain(step(n).on_error(told[0]).on_error(told[1]), more, app=app), n + 2
        case "chord":
            return chord([step(n + k) for k in range(6)], sig("body"), app=app), [n + k + 1 for k in range(6)]
        case "deep":  # a chord in a chain in a chord
            inner = chain(step(n), chord([more, sig("step", 5, immutable=True)], sig("body"), app=app), app=app)
            return chord([inner, step(n)], sig("body"), app=app), [[n + 2, 6], n + 1]
        case "spread":
            return chord([sig("spread", n), step(n)], sig("body"), app=app), [[n + 1, n + 2, n + 3], n + 1]
        case "broken":
            last = sig("body").on_error(sig("told_id", n, task_id=f"told-{n}")).on_error(sig("told_all", n))
            return chord([step(n), sig("broken", n)], last, app=app), None
        case "big":
            return chord([step(k) for k in range(BIG)], sig("body"), app=app), list(range(1, BIG + 1))
    raise AssertionError(kind)


KINDS = ("one", "chain", "chord", "watched", "deep", "again", "broken", "spread", "chord", "chain")


def parts(result) -> list[str]:
    """The ids of all results of a canvas; those of a task that replaces itself by others are not known before."""
    found, todo = [], [result]
    while todo:
        one = todo.pop()
        if isinstance(one, GroupResult):
            todo += one.results
        else:
            found.append(one.id)
        if one.parent is not None:
            todo.append(one.parent)
    return found


def main(seed: int, first: int) -> None:
    channel = app.connection_for_write().default_channel
    for n in count(first):
        while channel._size("celery") > AHEAD:
            if select.select([sys.stdin], [], [], 0.02)[0]:
                return
        if select.select([sys.stdin], [], [], 0)[0]:
            return
        kind = "big" if n % 25 == 3 else Random(f"{seed} {n}").choice(KINDS)
        made, value = canvas(kind, n)
        result = made.apply_async()
        print(json.dumps([n, kind, result.id, parts(result), value]), flush=True)
        time.sleep(0.005)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
