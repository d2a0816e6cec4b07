"""A group, or a chord's header, that a slow generator makes: sent in parts, so that the first tasks run meanwhile.

As in Celery. A generator that is done at once is sent as a whole, in one transaction, like any canvas; so is one inside
an outer transaction. The first part has the group, its first members, and one member more: the *placeholder*, a message
that is due when no part has come for `PATIENCE_S`. It keeps the group from finishing until the last part is there,
which takes it away and brings the chord's body. See ADR 0013.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from liteq.message import Batch, Flag, Group, Message, new_id
from liteq.storage.groups.append_members import GIVE_UP, placeholder
from liteq.storage.storage import Storage

__all__ = ["GIVE_UP", "GroupStream"]

logger = logging.getLogger("liteq.app")

PART_S = 0.25  # then the members so far are sent
PART_ROWS = 10_000
PATIENCE_S = 3600.0

Publish = Callable[[Batch, Collection[str]], Any]


class GroupStream:
    """The parts of one canvas that are sent before the rest of it: the stream of `compile_signature`.

    `publish` sends the first part, as if it were a whole canvas. `again`: whether ids that senders chose may be used
    again.
    """

    def __init__(
        self, storage: Storage, publish: Publish, queue: str, clock_ms: Callable[[], int], *, again: bool = True
    ) -> None:
        self._again = again
        self._storage = storage
        self._publish = publish
        self._queue = queue
        self._now_ms = clock_ms
        self._group: str | None = None
        self._placeholder = ""
        self._sent = 0  # members
        self._members = 0
        self._since = time.monotonic()
        self.messages: list[Message] = []  # all that was sent

    @property
    def has_begun(self) -> bool:
        """Whether anything has been sent in parts."""
        return self._group is not None

    def has_sent(self, group_id: str) -> bool:
        """Whether the first part of this group is in the file."""
        return self._group == group_id

    def offer(self, batch: Batch, group: Group, chosen: Collection[str]) -> None:
        """Send the rows of `batch` where enough time has passed, or enough of them are there, and empty it.

        `chosen`: the ids that its sender chose.
        """
        chosen = chosen if self._again else ()
        self._members = group.size
        if len(batch.messages) < PART_ROWS and time.monotonic() - self._since < PART_S:
            return
        if any(message.flags & Flag.REPLICATED for message in batch.messages):
            return  # it is one commit that is waited for
        if self._group is None:
            self._begin(batch, group, chosen)
        else:
            self._extend(Batch(list(batch.messages), list(batch.groups)), chosen, last=False)
        self.messages += batch.messages
        batch.messages.clear()
        batch.groups.clear()
        self._since = time.monotonic()

    def finish(self, batch: Batch, chosen: Collection[str]) -> None:
        """Send the last part: the remaining members, and the tasks after the group."""
        self._extend(batch, chosen, last=True)
        self.messages += batch.messages

    def abort(self) -> None:
        """Close the group: it finishes with the members that have been sent."""
        if self._group is None:
            return
        self._members = self._sent
        try:
            self._extend(Batch(), last=True)
        except Exception:  # the caller gets the error that ended the sending
            logger.warning("group %s stays open for %d s: its sender failed", self._group, PATIENCE_S, exc_info=True)

    def _begin(self, batch: Batch, group: Group, chosen: Collection[str]) -> None:
        self._placeholder = new_id()
        patience_ms = int(PATIENCE_S * 1000)
        held = placeholder(self._placeholder, group, self._queue, patience_ms=patience_ms, now_ms=self._now_ms())
        opened = Group(group.id, group.size + 1, root_id=group.root_id)
        self._publish(Batch([*batch.messages, held], [*batch.groups, opened]), chosen)
        self._group, self._sent = group.id, group.size

    def _extend(self, batch: Batch, chosen: Collection[str] = (), *, last: bool) -> None:
        assert self._group is not None, "the first part is sent by `offer`"
        more = self._members - self._sent
        if not self._storage.groups.extend(
            self._group, self._placeholder, batch, more, patience_s=PATIENCE_S, last=last, again=chosen
        ):
            raise ValueError(
                f"group {self._group} was given up: its generator made nothing for {PATIENCE_S:.0f} s or it was revoked"
            )
        self._sent = self._members
