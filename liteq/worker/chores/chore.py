"""What a worker's loop does beside claiming and settling, when its time has come: remote control, beat."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Chore"]


class Chore(Protocol):
    """Something small that the loop calls; it must not take long, and raises nothing but StorageError."""

    @property
    def due_at(self) -> float:
        """When it wants to be called next, by `time.monotonic()`."""

    def turn(self) -> None:
        """Do what is due, and set `due_at` anew."""

    def rung(self) -> None:
        """The bell of the queue has rung: `due_at` may be moved forward."""
