"""Where a signature stands in a canvas that is compiled, and the two parts of the app that the compiler asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from liteq.canvas import Node, Signature, as_list
from liteq.message import Batch, Flag, Group, Message
from liteq.utils.records import NamedTuple

__all__ = ["NOTHING", "TAKES_INPUT", "End", "Place", "RowMaker", "Stream", "closing", "joined"]

TAKES_INPUT = Flag.TAKES_INPUT
NOTHING: Mapping[str, Any] = {}


class RowMaker(Protocol):
    """Makes the row of one task: looks its options up, routes, encodes. `Publisher` is the app's."""

    @property
    def header_errbacks(self) -> bool:
        """The setting `task_allow_error_cb_on_chord_header`."""

    def row(
        self,
        sig: Signature,
        *,
        message_id: str,
        awaits: str | None,
        group_id: str | None,
        position: int,
        flags: int,
        root_id: str | None,
        parent_id: str | None,
    ) -> Message:
        """The row for `sig`, a plain signature with all its arguments but the awaited result.

        `flags` go in beside the task's own. Where `awaits` is given, a countdown counts from the end of what is
        awaited.
        """

    def overrides(self, name: str) -> bool:
        """Whether the task of this name has a say in how it is sent."""

    def overridden(self, sig: Signature) -> Signature:
        """`sig`, a plain signature with all that is known of its arguments and options, as such a task wants it."""


class Stream(Protocol):
    """Sends the first parts of a group while its tasks are still being generated."""

    def offer(self, batch: Batch, group: Group, chosen: Collection[str]) -> None:
        """`batch` has the rows of `group`'s members so far. Takes them out of it, or leaves them for later.

        `chosen`: the ids so far that were not made now.
        """

    def has_sent(self, group_id: str) -> bool:
        """Whether the row of this group, and members of it, have been sent."""


class Place(NamedTuple):
    """The place of a signature: its input from before, and the parts that wait for it.

    `args`, `kwargs`, `awaits` and `flags` concern the first tasks to run in it; `group_id`, `position`, `linked` and
    `links` the last ones; `errbacks` all of them.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = NOTHING
    awaits: str | None = None
    flags: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    position: int = 0
    linked: bool = False
    depth: int = 0
    links: Sequence[Any] = ()
    errbacks: Sequence[Any] = ()
    spread: bool = False  # a callback, perhaps of many tasks: each has a copy, so an id of its own where it is taken

    def after(self, awaited: End) -> Place:
        """The place behind `awaited`, whose result it takes."""
        return self._replace(
            args=(),
            kwargs=NOTHING,
            awaits=awaited.node.id,
            flags=TAKES_INPUT,
            root_id=self.root_id or awaited.root_id,
            parent_id=awaited.last_id,
        )

    def inner(self) -> Place:
        """The same place for a part that does not come last in it: nothing outside waits for that."""
        return self._replace(group_id=None, position=0, linked=True, links=())

    def without_input(self) -> Place:
        """The same place for an immutable signature: it waits, and takes nothing."""
        return self._replace(args=(), kwargs=NOTHING, flags=self.flags & ~TAKES_INPUT)


class End(NamedTuple):
    """How a part ends: its node, the message that ends it (a group's: its last member's), and that one's root."""

    node: Node
    last_id: str
    root_id: str


def joined(own: Any, more: Sequence[Any]) -> Sequence[Any]:
    """`own` as a list, and those of `more` that are not in it."""
    if not own:
        return more
    mine = as_list(own)
    return mine + [link for link in more if link not in mine] if more else mine


def closing(place: Place, options: dict[str, Any]) -> Place:
    """`place` with the links and errbacks that are taken out of a container's `options`, and its root and parent."""
    links, errbacks = options.pop("link", None), options.pop("link_error", None)
    root_id, parent_id = options.pop("root_id", None), options.pop("parent_id", None)
    if not (links or errbacks or root_id or parent_id):
        return place
    return place._replace(
        links=joined(links, place.links),
        errbacks=joined(errbacks, place.errbacks),
        root_id=root_id or place.root_id,
        parent_id=parent_id or place.parent_id,
    )
