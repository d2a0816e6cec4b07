"""`celery.utils.serialization`: the few names that programs take from it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from liteq.exceptions import RemoteError as UnpickleableExceptionWrapper

__all__ = ["UnpickleableExceptionWrapper", "pickle", "strtobool"]

BOOLEANS: Mapping[str, bool] = {
    "false": False, "no": False, "0": False, "off": False, "true": True, "yes": True, "1": True, "on": True,
}  # fmt: skip


def strtobool(term: Any, table: Mapping[str, bool] | None = None) -> Any:
    """The truth that a text says: "yes", "off", "1"; anything else as it is. Raises TypeError for another text."""
    if not isinstance(term, str):
        return term
    try:
        return (BOOLEANS if table is None else table)[term.lower()]
    except KeyError:
        raise TypeError(f"cannot coerce {term!r} to type bool") from None
