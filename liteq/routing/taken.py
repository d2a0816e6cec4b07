"""The queues that a worker takes from, as they are written: `mail`, with a weight `mail=3`, as a glob `mail.*`."""

from __future__ import annotations

from collections.abc import Iterable

from liteq.utils.globs import fits
from liteq.utils.records import NamedTuple

__all__ = ["Taken", "in_order", "taken", "without"]

HEAVIEST = 1_000


class Taken(NamedTuple):
    """A queue, or all that fit a glob, each with this weight beside the others."""

    name: str
    weight: int = 1


def taken(text: str) -> Taken:
    """One queue as it is written. Raises ValueError for a weight that is none."""
    name, equals, weight = text.strip().rpartition("=")
    if not equals:
        return Taken(weight)
    if not name or not weight.isdecimal() or not 1 <= int(weight) <= HEAVIEST:
        raise ValueError(f"{text!r}: write NAME or NAME=WEIGHT, the weight of a queue is from 1 to {HEAVIEST:,}")
    return Taken(name.strip(), int(weight))


def in_order(text: str) -> Taken:
    """As `taken`, of a worker that takes its queues in the order given. Raises ValueError also for a weight."""
    found = taken(text)
    if found.weight != 1:
        raise ValueError(
            f"{text!r}: a weight has no effect where the queues come in the order given (strict): write "
            f"{found.name!r}, or leave strict out so that they take turns"
        )
    return found


def without(texts: Iterable[str], excluded: Iterable[str], *, strict: bool = False) -> list[str]:
    """Those of `texts` whose queue is not among `excluded`, names or globs.

    Raises ValueError as `taken`, and with `strict` as `in_order`.
    """
    excluded, read = list(excluded), in_order if strict else taken
    named = [(text, read(text).name) for text in texts]
    return [text for text, name in named if not any(fits(name, one) for one in excluded)]
