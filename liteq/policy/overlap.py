"""Rules of an entry of beat: the fate of a time at which its last run is unfinished, and of times that it missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from liteq.exceptions import ImproperlyConfigured, closest

__all__ = ["CATCH_UPS", "OVERLAPS", "Rules"]

OVERLAPS = ("allow", "skip", "queue", "latest", "cancel")
CATCH_UPS = ("one", "skip", "all")


class Rules(NamedTuple):
    """`overlap`: while the last run is unfinished, a time

        allow     starts a run all the same
        skip      is passed over
        queue     waits until the last run has ended; each gets its turn
        latest    waits likewise; one run is started for all that have waited
        cancel    cancels the last run, and starts one

    `catch_up`: as the setting `beat_catch_up`, and `catch_up_within`, in seconds, as `beat_cron_starting_deadline`;
    these settings count where they are None.
    """

    overlap: str = "allow"
    catch_up: str | None = None
    catch_up_within: float | None = None

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
        within = entry.get("catch_up_within")
        if within is not None and (isinstance(within, bool) or not isinstance(within, (int, float)) or not within >= 0):
            raise ImproperlyConfigured(
                f"the entry {name!r}: catch_up_within is a number of seconds, 0 or more, not {within!r}"
            )
        return Rules(overlap, catch_up, within)

    def stored(self) -> dict[str, Any]:
        """The rules as they stand in the entry's call: nothing for the usual ones."""
        usual = Rules()
        return {key: said for key, said in self._asdict().items() if said != getattr(usual, key)}
