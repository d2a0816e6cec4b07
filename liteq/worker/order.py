"""`Order`: the queues that a worker takes from, and their order in each claim.

A claim takes what it can from the first queue, then from the next. Which one is first changes from claim to claim by
smooth weighted round robin: each queue gains its weight, the richest is first and pays the weight of all. So a queue is
first as often as its weight says, spread evenly, and however small its weight, it is first within as many claims as the
weights add up to: none starves. With `strict` the order is the one that was given, always.

A glob stands for the queues that fit it, each with its weight. They are looked up before a claim, so a queue that
appears is taken from with its first message; once seen, it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from liteq.routing.taken import taken
from liteq.utils.globs import fits, is_glob

__all__ = ["Order"]


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
        self._credits: dict[str, int] = {}  # of the queues, in the order given
        self._found: dict[str, str] = {}  # queues that fit a glob, with that
        for one in queues:
            self.add(one)

    @property
    def names(self) -> list[str]:
        """The queues that are known, in the order in which they were given."""
        return list(self._credits)

    @property
    def weights(self) -> dict[str, int]:
        """The weights other than 1 of the known queues and globs; none where the order is strict."""
        if self.strict:
            return {}
        found = {name: self._weight(name) for name in self._credits} | self._weights
        return {name: weight for name, weight in found.items() if weight != 1}

    @property
    def facts(self) -> dict[str, object]:
        """The part of the order that lists of workers show, beside the names."""
        return {"globs": self.globs, "weights": self.weights, "strict": self.strict}

    def takes(self, name: str) -> bool:
        """Whether `name`, a queue or a glob, is among what was given or found."""
        return name in self._weights or name in self._credits

    def add(self, text: str) -> None:
        """Take from one more queue or glob; one that is there gets the weight that is said now.

        Raises ValueError for a weight that is none.
        """
        name, weight = taken(text)
        self._weights[name] = weight
        self._arrange()

    def remove(self, name: str) -> None:
        """Take from a queue, or the queues of a glob, no more; of a glob's queues one alone too, until it is added."""
        name = taken(name).name
        if self._weights.pop(name, None) is None and name in self._credits:
            self._excluded = (*self._excluded, name)
        self._arrange()

    def next(self) -> list[str]:
        """The queues in the order of this claim."""
        if self.globs:
            self._look()
        credit = self._credits
        if self.strict or len(credit) < 2:
            return list(credit)
        total = 0
        for name in credit:
            weight = self._weight(name)
            credit[name] += weight
            total += weight
        order = sorted(credit, key=credit.__getitem__, reverse=True)
        credit[order[0]] -= total
        return order

    def _weight(self, name: str) -> int:
        return self._weights.get(name) or self._weights[self._found[name]]

    def _look(self) -> None:
        """See which queues there are by now."""
        new = [name for name in self._waiting() if name not in self._credits]
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
        self._credits = {name: self._credits.get(name, 0) for name in arranged}
