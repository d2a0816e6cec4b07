"""What a canvas needs to know of the app, and the tree of ids from which the app makes results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["Node", "Sender"]


@dataclass(slots=True, eq=False)
class Node:
    """One result to be: a message's or a group's id, known before anything is sent.

    `children` are a group's members in the order of their positions. `parent` is what this one waits for: the link
    before it in a chain, the header before a chord's body.
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


class Sender(Protocol):
    """The part of an app that signatures use. `sig` is a `Signature`, which this module, below it, cannot name."""

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The registry: task by name. A missing name raises NotRegistered."""

    @property
    def conf(self) -> Any:
        """The settings; `task_allow_error_cb_on_chord_header` is read."""

    def send_signature(
        self, sig: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send `sig` with `args` before its own, `kwargs` and `options` over its own; an AsyncResult or GroupResult."""

    def apply_signature(
        self, sig: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run `sig` in this process (see `canvas.eager.evaluate`); an EagerResult or GroupResult."""

    def result_of(self, node: Node) -> Any:
        """The AsyncResult or GroupResult that stands for `node`."""
