"""Which results depend on which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TextIO

__all__ = ["DependencyGraph"]


class DependencyGraph:
    """A directed graph without circles; an edge leads from a result to one that runs after it."""

    def __init__(self, it: Iterable[tuple[Any, Iterable[Any]]] = ()) -> None:
        """Start with the nodes of `it`, each with those that edges lead to."""
        self.adjacent: dict[Any, list[Any]] = {}
        for node, targets in it:
            self.adjacent.setdefault(node, []).extend(targets)

    def add_arc(self, obj: Any) -> None:
        """Add a node."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, source: Any, target: Any) -> None:
        """Add an edge between nodes."""
        self.adjacent[source].append(target)

    def edges(self) -> list[Any]:
        """The nodes that an edge begins at."""
        return [node for node, targets in self.adjacent.items() if targets]

    def valency_of(self, obj: Any) -> int:
        """How many edges there are from `obj` on."""
        return len(self.adjacent[obj]) + sum(self.valency_of(target) for target in self.adjacent[obj])

    def items(self) -> list[tuple[Any, list[Any]]]:
        """Each node with those behind it."""
        return list(self.adjacent.items())

    def topsort(self) -> list[Any]:
        """The nodes, each after those that run behind it."""
        found: list[Any] = []

        def visit(node: Any) -> None:
            for target in self.adjacent[node]:
                visit(target)
            if node not in found:
                found.append(node)

        for node in self.adjacent:
            visit(node)
        return found

    def to_dot(self, fh: TextIO, formatter: Any = None) -> None:
        """Write it in the language of Graphviz."""
        fh.write("digraph dependencies {\n")
        for node, targets in self.adjacent.items():
            fh.write(f'  "{node}"\n')
            fh.writelines(f'  "{node}" -> "{target}"\n' for target in targets)
        fh.write("}\n")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def __getitem__(self, obj: Any) -> list[Any]:
        return self.adjacent[obj]

    def __repr__(self) -> str:
        return "\n".join(f"{node} -> {', '.join(map(str, targets))}" for node, targets in self.adjacent.items())
