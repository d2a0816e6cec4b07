"""The loop of a bulk action: a chunk, a rest, a chunk, until the search finds no more, or it is told to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import orjson

from liteq.context import App
from liteq.exceptions import ReadTimeout, StorageBusy
from liteq.monitor.access.sight import Sight
from liteq.operating.choosing import Choice, Page, page_of
from liteq.policy.rates import per_second
from liteq.storage.facades.operators.operations import Chunk, Did
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.operations import Operation

__all__ = ["MOST", "run"]

logger = logging.getLogger("liteq.operating")

MOST = 500  # messages of one transaction
LEAST = 10
GOAL_S = 0.02  # for how long one may have the write lock; others wait meanwhile
SHARE = 5  # it has the lock for one part of so many
TRIES = 5  # of a read that the file was too busy for
BEAT_S = 2.0  # an operation that rests says so often that it lives


def run(app: App, id_: str, owner: str, sleep: Callable[[float], None] = time.sleep) -> None:
    """Do an operation that `owner` has taken, up to its end or until it is stopped. What it raises is in its row."""
    operation = app.storage.operations.find(id_)
    if operation is None or operation.owner != owner:
        return
    try:
        _Runner(app, operation, owner, sleep).run()
    except Exception as error:
        logger.exception("the operation %s (%s) has failed; it can be continued", id_, operation.kind)
        app.storage.operations.finish(id_, owner, error=f"{type(error).__name__}: {error}"[:1_000])
    except BaseException:  # Ctrl-C
        app.storage.operations.give_up(id_, owner)
        raise


class _Runner:
    def __init__(self, app: App, operation: Operation, owner: str, sleep: Callable[[float], None]) -> None:
        self._app, self._owner, self._sleep = app, owner, sleep
        self._id, self._kind = operation.id, operation.kind
        document = orjson.loads(operation.arguments)
        cursor = orjson.loads(operation.cursor)
        self._fence, self._after = int(cursor["fence"]), cursor.get("after")
        self._handled: list[str] = cursor.get("handled", [])  # of the page behind that mark
        self._has_ended = bool(cursor.get("end"))
        self._until = operation.until
        self._arguments = document["take"]
        self._queues = None if operation.queues is None else tuple(orjson.loads(operation.queues))
        # Whether it may search in arguments was decided when it was started: its rights are not kept, its queues are.
        see = Sight(self._queues)
        ids = document.get("ids", ())
        self._choice = Choice(operation.kind, operation.filter, ids, see, operation.created_ms, self._arguments)
        self._by = Actor(operation.actor, operation.source, operation.reason)
        self._rate = per_second(operation.rate)
        self._size = MOST // 5

    def run(self) -> None:
        while not self._has_ended:
            page = self._page()
            if page is None:
                return
            handled = set(self._handled)
            ids = [id_ for seq, id_ in page.found if seq <= self._until and id_ not in handled]
            if not self._do(ids, page.after):
                return
        self._app.storage.operations.finish(self._id, self._owner)

    def _page(self) -> Page | None:
        """The next page; None when the operation is not to go on. A file that is busy is asked again."""
        for _ in range(TRIES):
            try:
                return page_of(self._app, self._choice, after=self._after, limit=self._limit())
            except (StorageBusy, ReadTimeout):
                self._sleep(BEAT_S)
            if not self._beat():
                return None
        return page_of(self._app, self._choice, after=self._after, limit=self._limit())

    def _do(self, ids: list[str], after: str | None) -> bool:
        """Do a page, in as many chunks as it takes; False when the operation is not to go on."""
        while True:
            did = self._step(ids, self._cursor(after, (), end=after is None))
            if did is None:
                return False
            self._handled += ids[: did.n]
            ids = ids[did.n :]
            if not ids:
                self._after, self._handled, self._has_ended = after, [], after is None
            if self._has_ended:
                return True
            if not self._rest(did):
                return False
            if not ids:
                return True

    def _cursor(self, after: str | None, handled: Sequence[str], *, end: bool) -> bytes:
        return orjson.dumps({"fence": self._fence, "after": after, "handled": handled, "end": end})

    def _limit(self) -> int:
        return max(1, min(self._size, int(self._rate) or 1)) if self._rate else self._size

    def _step(self, ids: list[str], cursor: bytes) -> Did | None:
        chunk = Chunk(
            self._kind, ids, self._arguments, cursor, self._after, self._handled, self._fence, self._queues, self._by
        )
        return self._app.storage.operations.step(self._id, self._owner, chunk)

    def _rest(self, did: Did) -> bool:
        """Leave the lock to others, and keep to the rate; False when the operation is not to go on."""
        if did.held_s > 0 and did.n:
            self._size = max(LEAST, min(MOST, int(did.n * GOAL_S / did.held_s), 2 * self._size))
        left_s = max((SHARE - 1) * did.held_s, did.n / self._rate if self._rate else 0.0)
        while left_s > BEAT_S:
            self._sleep(BEAT_S)
            left_s -= BEAT_S
            if not self._beat():
                return False
        self._sleep(left_s)
        return True

    def _beat(self) -> bool:
        """Say that it lives, at the place where it is; False when it is not to go on."""
        return self._step([], self._cursor(self._after, self._handled, end=False)) is not None
