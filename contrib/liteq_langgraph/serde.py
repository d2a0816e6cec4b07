"""The strict serializer: what is written is what may be read again, and a class that no list names is not imported."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from liteq.exceptions import NotSerializable

__all__ = ["StrictSerializer", "Undeclared"]

PLAIN = frozenset({str, int, float, bool, bytes, bytearray, type(None)})


class Undeclared(NotSerializable):
    """Raised for a value of a class that the serializer would not make again when it reads."""


class _Refusals(threading.local):
    """The classes that were refused while this thread reads back what it is about to write."""

    names: list[str] | None = None


_refusals = _Refusals()


def _refused(event: SerdeEvent) -> None:
    if _refusals.names is not None and event["kind"] in {"msgpack_blocked", "msgpack_method_blocked"}:
        _refusals.names.append(f"{event['module']}.{event['name']}")


register_serde_event_listener(_refused)


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer with its own list of types, and those that are declared: `StrictSerializer([Order])`.

    A value of another class is refused when it is written. (The serializer as it comes reads it: it imports the class
    that the file names.) Nothing is pickled.
    """

    def __init__(self, types: Iterable[type | tuple[str, str]] = ()) -> None:
        super().__init__(allowed_msgpack_modules=tuple(types) or None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Serialize `obj`. Raises Undeclared for a class that is not on the list, NotSerializable for other things."""
        if type(obj) in PLAIN:
            return super().dumps_typed(obj)
        try:
            form, data = super().dumps_typed(obj)
        except Exception as exc:
            raise NotSerializable(f"{type(obj).__qualname__} cannot be stored: {exc}") from exc
        _refusals.names = []
        try:
            self.loads_typed((form, data))
            names = _refusals.names
        finally:
            _refusals.names = None
        if names:
            name = names[0].rpartition(".")[2]
            raise Undeclared(
                f"{names[0]} is not on the serializer's list, so it would not be read again: declare it, "
                f"serde=StrictSerializer([{name}])"
            )
        return form, data
