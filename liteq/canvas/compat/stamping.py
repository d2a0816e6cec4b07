"""Stamps: headers of one's own that are put on every task of a canvas, and seen as `request.stamps`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from liteq.canvas.lazy import each_task
from liteq.canvas.options import as_list
from liteq.canvas.signature import maybe_signature

__all__ = ["Stamper", "StampingVisitor"]

NAMES = "stamped_headers"


class StampingVisitor(ABC):
    """Decides the stamps of each part of a canvas: override what concerns you.

    Every hook gets the part and the headers so far, and returns the headers to add. Those named in its
    `stamped_headers` are stamps, all of them where it names none.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        """Called for each task."""

    def on_chain_start(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {}

    def on_chain_end(self, sig: Any, **headers: Any) -> None:  # noqa: B027 - optional
        pass

    def on_group_start(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {}

    def on_group_end(self, sig: Any, **headers: Any) -> None:  # noqa: B027 - optional
        pass

    def on_chord_header_start(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return self.on_group_start(sig.header_group(), **headers)

    def on_chord_header_end(self, sig: Any, **headers: Any) -> None:
        self.on_group_end(sig.header_group(), **headers)

    def on_chord_body(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {}

    def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any]:
        return {}

    def on_errback(self, errback: Any, **headers: Any) -> dict[str, Any]:
        return {}


class Stamper:
    """One walk over a canvas. `append`: a stamp that is there already becomes a list of both, else the new one wins."""

    def __init__(self, visitor: StampingVisitor | None, append: bool = False) -> None:
        self.visitor = visitor
        self.append = append

    def stamp(self, sig: Any, headers: Mapping[str, Any]) -> Any:
        """Put `headers` on every task of `sig`, and of its links; returns `sig`."""
        match sig["subtask_type"]:
            case "chain":
                self._container(sig, headers, "on_chain_start", "on_chain_end")
            case "group":
                self._container(sig, headers, "on_group_start", "on_group_end")
            case "chord":
                headers = self._container(sig, headers, "on_chord_header_start", "on_chord_header_end")
                if sig.body is not None:
                    self.stamp(sig.body, self._asked("on_chord_body", sig, headers))
            case _:
                self._links(sig, headers)
                self._put(sig, self._asked("on_signature", sig, headers))
        return sig

    def _container(self, sig: Any, headers: Mapping[str, Any], start: str, end: str) -> dict[str, Any]:
        inner = self._asked(start, sig, headers)
        self._links(sig, inner)
        each_task(sig.tasks, lambda task: self.stamp(task, inner))
        if self.visitor is not None:
            getattr(self.visitor, end)(sig, **inner)
        return inner

    def _links(self, sig: Any, headers: Mapping[str, Any]) -> None:
        for key, hook in (("link", "on_callback"), ("link_error", "on_errback")):
            links = [maybe_signature(link) for link in as_list(sig["options"].get(key))]
            if links:  # those of a signature that came as JSON are dicts
                sig["options"][key] = links
            for link in links:
                self.stamp(link, self._asked(hook, link, headers))

    def _asked(self, hook: str, sig: Any, headers: Mapping[str, Any]) -> dict[str, Any]:
        """`headers`, with those that the visitor's `hook` adds for `sig`."""
        merged = named(headers)
        if self.visitor is not None:
            self._merge(merged, named(getattr(self.visitor, hook)(sig, **merged) or {}))
        return merged

    def _put(self, sig: Any, headers: Mapping[str, Any]) -> None:
        options = sig["options"]
        merged = {NAMES: list(options.get(NAMES) or ())}
        merged.update({key: options[key] for key in merged[NAMES] if key in options})
        self._merge(merged, headers)
        options.update(merged)

    def _merge(self, into: dict[str, Any], more: Mapping[str, Any]) -> None:
        for key, value in more.items():
            if key == NAMES:
                into[NAMES] = list(dict.fromkeys([*into.get(NAMES, ()), *value]))
            elif self.append and key in into and into[key] != value:
                into[key] = [*_listed(into[key]), *_listed(value)]
            else:
                into[key] = value


def named(headers: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `headers` that says which of them are stamps."""
    return {**headers, NAMES: list(headers.get(NAMES, headers))}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set)) else [value]
