"""The queues that a worker takes from, as they are written: `mail`, with a weight `mail=3`, as a glob `mail.*`."""

from __future__ import annotations

from collections.abc import Iterable

from liteq.utils.globs import fits
from liteq.utils.records import NamedTuple

__all__ = ["Taken", "taken", "without"]

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


def without(texts: Iterable[str], excluded: Iterable[str]) -> list[str]:
    """Those of `texts` whose queue is not among `excluded`, names or globs. Raises ValueError as `taken`."""
    excluded = list(excluded)
    named = [(text, taken(text).name) for text in texts]
    return [text for text, name in named if not any(fits(name, one) for one in excluded)]
