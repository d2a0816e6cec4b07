"""Viewers: rights by name, roles that bundle them, queues by glob."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from liteq.monitor.access.rights import RIGHTS, ROLES
from liteq.monitor.access.sight import Sight
from liteq.utils.misspelt import meant

__all__ = ["ANYBODY", "RIGHTS", "ROLES", "Viewer"]


@dataclass(frozen=True, slots=True, init=False)
class Viewer:
    """A person or a program at the dashboard: `Viewer("ann", ["operator"], queues=["mail*"])`.

    `rights`: names of rights or of roles, or one of them alone. `queues`: globs of the queues that it may see; None:
    all. Raises ValueError for a right that is none, with the nearest one.
    """

    name: str
    rights: frozenset[str]
    queues: tuple[str, ...] | None

    def __init__(self, name: str, rights: str | Iterable[str], queues: str | Iterable[str] | None = None) -> None:
        found: set[str] = set()
        for right in [rights] if isinstance(rights, str) else rights:
            if right not in ROLES and right not in RIGHTS:
                hint = meant(right, [*RIGHTS, *ROLES], f"use one of {', '.join([*ROLES, *RIGHTS])}")
                raise ValueError(f"unknown right {right!r} of the viewer {name!r}{hint}")
            found |= ROLES.get(right, {right})
        globs = None if queues is None else (queues,) if isinstance(queues, str) else tuple(queues)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "rights", frozenset(found))
        object.__setattr__(self, "queues", globs)

    def can(self, right: str) -> bool:
        """Whether the viewer has `right`; "" is everybody's."""
        return not right or right in self.rights

    @property
    def sight(self) -> Sight:
        """The part of a file that the readers show to the viewer."""
        return Sight(self.queues, self.can("payloads"))

    def only(self, rights: Iterable[str]) -> Viewer:
        """The same viewer without the rights that are not among `rights`."""
        return Viewer(self.name, self.rights & frozenset(rights), self.queues)


ANYBODY = Viewer("", [], ())  # before somebody has said a name: the page that asks for it, and its style
