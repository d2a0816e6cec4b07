"""A row of the table of all names, and the places that its makers share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "Row", "shipped"]

ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """One name: its kind, a key of SECTIONS; what it is of, or takes; its form, default or meaning."""

    kind: str
    name: str
    of: str = ""
    form: str = ""


def shipped() -> list[Path]:
    """The files of Python in the wheel, in a fixed order."""
    return sorted([*ROOT.glob("liteq/**/*.py"), *ROOT.glob("contrib/liteq_*/**/*.py")])
