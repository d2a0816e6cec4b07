"""Limits by key: how many of a key run at once, how often they start, and whether they are paused (docs/adr/0025).

A place is a row that goes with its lease. What lacks one is `held` in a line, out of the claimable set, until there is
something for it.
"""

from __future__ import annotations

from liteq.storage.limits.kinds import Limit

__all__ = ["Limit"]
