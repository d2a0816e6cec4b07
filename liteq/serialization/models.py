"""Models, dataclasses and enums as plain data."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

import orjson

__all__ = ["data_of"]


def data_of(data: Any) -> Any:
    """`data` as plain data: a model, a dataclass or an enum as what its form will make of it again."""
    if hasattr(data, "model_dump"):
        return data.model_dump(mode="json")
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return orjson.loads(orjson.dumps(data, default=str))
    if isinstance(data, Enum):
        return data.value
    return data
