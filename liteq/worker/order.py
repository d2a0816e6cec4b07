"""`Order`: the queues that a worker takes from, and their order in each claim.

A claim takes what it can from the first queue, then from the next. Which one is first changes from claim to claim by
smooth weighted round robin: each queue gains its weight, the richest is first and pays the weight of all. So a queue is
first as often as its weight says, spread evenly, and however small its weight, it is first within as many claims as the
weights add up to: none starves. With `strict` the order is the one that was given, always.

A glob stands for the queues that fit it, each with its weight. They are looked up before a claim, so a queue that
appears is taken from with its first message; once seen, it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice, repeat
from math import gcd
from typing import Final

from liteq.routing.taken import in_order, taken
from liteq.utils.globs import fits, is_glob

__all__ = ["Order"]

KEPT: Final = 10_000  # names: the orders of a period are kept where they are not more


class Order:
    """The order of one loop. `waiting` tells the queues in which something waits; it is asked where there is a glob.

    `excluded`: names and globs not to take from, whatever fits a glob.
    """

    def __init__(
        self,
        queues: Iterable[str],
        *,
        strict: bool = False,
        excluded: Sequence[str] = (),
        waiting: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        self.strict = strict
        self._excluded = tuple(excluded)
        self._waiting = waiting
        self.globs: list[str] = []
        """The globs among what was given."""
        self._weights: dict[str, int] = {}  # as they were given: names and globs
        self._queues: dict[str, int] = {}  # with their weights: those that are known, in the order given
        self._orders: Iterator[list[str]] = repeat([])  # of the claims to come
        self._found: dict[str, str] = {}  # queues that fit a glob, with that
        for one in queues:
            self.add(one)

    @property
    def names(self) -> list[str]:
        """The queues that are known, in the order in which they were given."""
        return list(self._queues)

    @property
    def weights(self) -> dict[str, int]:
        """The weights other than 1 of the known queues and globs."""
        found = self._queues | self._weights
        return {name: weight for name, weight in found.items() if weight != 1}

    @property
    def facts(self) -> dict[str, object]:
        """The part of the order that lists of workers show, beside the names."""
        return {"globs": self.globs, "weights": self.weights, "strict": self.strict}

    def takes(self, name: str) -> bool:
        """Whether `name`, a queue or a glob, is among what was given or found."""
        return name in self._weights or name in self._queues

    def add(self, text: str) -> None:
        """Take from one more queue or glob; one that is there gets the weight that is said now.

        Raises ValueError for a weight that is none, or that has no effect because the order is strict.
        """
        name, weight = in_order(text) if self.strict else taken(text)
        self._weights[name] = weight
        self._arrange()

    def remove(self, name: str) -> None:
        """Take from a queue, or the queues of a glob, no more; of a glob's queues one alone too, until it is added."""
        name = taken(name).name
        if self._weights.pop(name, None) is None and name in self._queues:
            self._excluded = (*self._excluded, name)
        self._arrange()

    def next(self) -> list[str]:
        """The queues in the order of this claim; the list is kept, and not to be changed."""
        if self.globs:
            self._look()
        return next(self._orders)

    def _weight(self, name: str) -> int:
        return self._weights.get(name) or self._weights[self._found[name]]

    def _look(self) -> None:
        """See which queues there are by now."""
        new = [name for name in self._waiting() if name not in self._queues]
        if any(self._glob_of(name) for name in new):
            for name in new:
                if glob := self._glob_of(name):
                    self._found[name] = glob
            self._arrange()

    def _glob_of(self, name: str) -> str | None:
        if any(fits(name, one) for one in self._excluded):
            return None
        return next((glob for glob in self.globs if fits(name, glob)), None)

    def _arrange(self) -> None:
        """Put the queues in the order in which they, or their globs, were given; those of one glob by name."""
        self._excluded = tuple(one for one in self._excluded if one not in self._weights)
        self.globs = [name for name in self._weights if is_glob(name)]
        self._found = {name: glob for name in sorted(self._found) if (glob := self._glob_of(name)) is not None}
        arranged = []
        for given in self._weights:
            fitting = [name for name, glob in self._found.items() if glob == given and name not in self._weights]
            arranged += fitting if is_glob(given) else [given]
        self._queues = {name: self._weight(name) for name in arranged}
        if self.strict or len(arranged) < 2:
            self._orders = repeat(arranged)
        else:
            self._orders = _in_turns(self._queues)


def _in_turns(weights: dict[str, int]) -> Iterator[list[str]]:
    """The orders of all claims to come. Few are worked out once: before each claim they cost a lone task 10 us."""
    period = sum(weights.values()) // gcd(*weights.values())  # then all credits are 0 again
    orders = _by_credit(weights)
    return cycle(islice(orders, period)) if period * len(weights) <= KEPT else orders


def _by_credit(weights: dict[str, int]) -> Iterator[list[str]]:
    """Smooth weighted round robin, as in the module's head."""
    credit, total = dict.fromkeys(weights, 0), sum(weights.values())
    while True:
        for name, weight in weights.items():
            credit[name] += weight
        order = sorted(credit, key=credit.__getitem__, reverse=True)
        credit[order[0]] -= total
        yield order
