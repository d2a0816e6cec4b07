"""Sums of usage for people: `run.usage()`, `app.usage()`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from liteq.policy.money import from_units
from liteq.utils.durations import Duration, seconds
from liteq.utils.misspelt import meant
from liteq.workflow.declared.budgets import Usage

if TYPE_CHECKING:
    from liteq.context import App
    from liteq.storage.spending.usage import Sum

__all__ = ["BY", "listed", "usage_of"]

BY = ("model", "workflow", "tag", "day")
EPOCH = date(1970, 1, 1)


class Total:
    """A sum that grows, of one name."""

    def __init__(self) -> None:
        self.tokens = [0, 0, 0, 0]
        self.requests = self.units = self.saved = self.hits = self.unknown = 0
        self.priced = self.saved_priced = True

    def add(self, one: Sum) -> None:
        """Add rows of one source."""
        if one.source == "unknown":
            self.unknown += one.rows
            return
        priced = one.priced == one.rows
        if one.source == "memo":
            self.hits += one.rows
            self.saved += one.cost or 0
            self.saved_priced &= priced
            return
        self.requests += one.requests
        self.tokens = [a + b for a, b in zip(self.tokens, one[5:9], strict=True)]
        self.units += one.cost or 0
        self.priced &= priced

    def usage(self, models: dict[str, Usage]) -> Usage:
        """The sum."""
        cost = from_units(self.units) if self.priced else None
        saved = from_units(self.saved) if self.saved_priced else None
        fresh, answered, read, written = self.tokens
        return Usage(
            self.requests, fresh, answered, read, written, cost, saved, self.hits, self.unknown, models
        )  # fmt: skip


def usage_of(sums: Iterable[Sum]) -> Usage:
    """The sum of all, and by model."""
    whole, by_model = Total(), dict[str, Total]()
    for one in sums:
        whole.add(one)
        if one.model is not None:
            by_model.setdefault(one.model, Total()).add(one)
    return whole.usage({name: total.usage({}) for name, total in sorted(by_model.items())})


def listed(app: App, *, since: Duration | datetime | None, by: str) -> list[dict[str, Any]]:
    """The spending of all, by the names of `by`, the dearest first; each with the fields of Usage.

    Raises ValueError for another word, and for a time that is none.
    """
    if by not in BY:
        raise ValueError(f"usage is by {', '.join(map(repr, BY))}, not by {by!r}{meant(str(by), BY, '')}")
    groups = dict[str, list[Any]]()
    for one in app.storage.spending.since(by, _since_ms(app, since)):
        for name in _names(by, one.name):
            groups.setdefault(name, []).append(one)
    found = [(name, usage_of(sums)) for name, sums in groups.items()]
    found.sort(key=lambda pair: (-(pair[1].cost or Decimal(0)), -pair[1].input_tokens - pair[1].output_tokens, pair[0]))
    return [{by: name or None, **asdict(usage)} for name, usage in found]


def _since_ms(app: App, since: Duration | datetime | None) -> int:
    if since is None:
        return 0
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError(f"since={since!r}: a naive datetime names no moment; add its zone")
        return int(since.astimezone(UTC).timestamp() * 1000)
    return app.clock.now_ms() - int(seconds(since, "since") * 1000)


def _names(by: str, name: Any) -> list[str]:
    if by == "day":
        return [(EPOCH + timedelta(days=int(name))).isoformat()]
    if by == "tag":
        return orjson.loads(name) if name else [""]
    return [name or ""]
