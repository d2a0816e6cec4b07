"""`Done` and `NotDone`: the answers of a function of `doubt=`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Done", "NotDone"]


@dataclass(frozen=True, slots=True)
class Done:
    """Returned by a function of `doubt=`: the effect is there, and `result` is what the step would have returned."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class NotDone:
    """Returned by a function of `doubt=`: the effect is not there, so the step is to be run."""
