"""Rules of an entry of beat: the fate of a time at which its last run is unfinished, and of times that it missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from liteq.exceptions import ImproperlyConfigured, closest

__all__ = ["CATCH_UPS", "OVERLAPS", "Rules"]

OVERLAPS = ("allow", "skip", "queue", "cancel")
CATCH_UPS = ("one", "skip", "all")


class Rules(NamedTuple):
    """`overlap`: while the last run is unfinished, a time

        allow     starts a run all the same
        skip      is passed over
        queue     waits until the last run has ended; each gets its turn
        cancel    cancels the last run, and starts one

    `catch_up`: as the setting `beat_catch_up`, which counts where this is None.
    """

    overlap: str = "allow"
    catch_up: str | None = None

    @staticmethod
    def of(entry: Mapping[str, Any], name: str) -> Rules:
        """The rules of an entry, or of its stored call. Raises ImproperlyConfigured for a value that is none."""
        overlap, catch_up = entry.get("overlap") or "allow", entry.get("catch_up")
        for key, said, known in (("overlap", overlap, OVERLAPS), ("catch_up", catch_up, (None, *CATCH_UPS))):
            if said not in known:
                names = [one for one in known if one is not None]
                raise ImproperlyConfigured(
                    f"the entry {name!r}: {key} is one of {', '.join(map(repr, names))}, not {said!r} "
                    f"(nearest: {closest(str(said), names)})"
                )
        return Rules(overlap, catch_up)

    def stored(self) -> dict[str, str]:
        """The rules as they stand in the entry's call: nothing for the usual ones."""
        found = {} if self.overlap == "allow" else {"overlap": self.overlap}
        return found if self.catch_up is None else {**found, "catch_up": self.catch_up}
