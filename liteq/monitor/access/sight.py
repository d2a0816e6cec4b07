"""The part of a file that one viewer may see."""

from __future__ import annotations

from fnmatch import fnmatchcase

from liteq.utils.globs import is_glob
from liteq.utils.records import NamedTuple

__all__ = ["ALL", "Sight"]


class Sight(NamedTuple):
    """The queues that a viewer may see, as globs (None: all), and whether with arguments and results (`payloads`).

    Each reader of `monitor` takes one, and neither lists, counts nor finds what lies outside it.
    """

    queues: tuple[str, ...] | None = None
    payloads: bool = True

    def sees(self, queue: str | None) -> bool:
        """Whether `queue` is within; None is what belongs to no queue, which is for viewers of all queues alone."""
        if self.queues is None:
            return True
        return queue is not None and any(fnmatchcase(queue, glob) for glob in self.queues)

    def covers(self, queue: str) -> bool:
        """Whether all is within that `queue`, a name or a glob of queues, stands for.

        An act by a glob reaches each queue that fits it, also those that this viewer does not see. All are within where
        a glob of the viewer's is that very one, or fits its text by `*` alone: what fits the one fits the other then.
        """
        if self.queues is None or not is_glob(queue):
            return self.sees(queue)
        if queue in self.queues and "[" not in queue:  # which is a set of characters in a viewer's globs alone
            return True
        return any(fnmatchcase(queue, glob) for glob in self.queues if "?" not in glob and "[" not in glob)


ALL = Sight()
