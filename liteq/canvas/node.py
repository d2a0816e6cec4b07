"""The tree of ids from which an app makes results."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from liteq.utils.records import dataclass

__all__ = ["Node"]


@dataclass(slots=True, eq=False)
class Node:
    """One result to be: a message's or a group's id, known before anything is sent.

    `children` are a group's members in the order of their positions. `parent` is the node that this one waits for: the
    link before it in a chain, the header before a chord's body.
    """

    id: str
    kind: Literal["task", "group"] = "task"
    children: list[Node] = field(default_factory=list)
    parent: Node | None = field(default=None, repr=False)

    def head(self) -> Node:
        """The first node of the line of parents that ends here."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def follow(self, before: Node | None) -> Node:
        """Put this line of nodes behind `before`; returns self."""
        if before is not None:
            self.head().parent = before
        return self
