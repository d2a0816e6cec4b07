"""`app.budgets`: how much all runs of a tag may spend together."""

from __future__ import annotations

import builtins
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from liteq.context import App
from liteq.policy.money import from_units, to_units
from liteq.utils.names import checked_name
from liteq.utils.records import NamedTuple

if TYPE_CHECKING:
    from liteq.storage.spending.kinds import Limit
    from liteq.storage.storage import Storage

__all__ = ["Budgets", "SharedBudget"]

PERIODS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class SharedBudget(NamedTuple):
    """One limit of a tag's budget, as it stands: `most` of `what` (cost, tokens, requests), in each `period_s` seconds.

    `period_s` None: in all. `spent`: in this period; `reserved`: by what is in flight.
    """

    tag: str
    what: str
    most: Decimal | int
    period_s: float | None
    spent: Decimal | int
    reserved: Decimal | int


class Budgets:
    """The budgets of one app's tags. The runs with a tag spend its budget, and so do all that they start."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.declared: dict[str, tuple[Limit, ...]] = {}
        """Budgets that modules have set while they were imported: written when the file is opened."""

    def set(
        self, tag: str, *, cost: Decimal | str | int | None = None, tokens: str | int | None = None,
        requests: str | int | None = None, soft: float | None = 0.8, on_exceed: str = "raise",
    ) -> None:  # fmt: skip
        """Let the runs of `tag` spend so much: "100" in all, "100/d" each day (in UTC), as well "/h", "/m" and "/s".

        It is in force at once, and kept in the file; what is spent counts on where the period stays the same. soft and
        on_exceed: as of a Budget. A call in a module that is being imported declares it: what is set later at run time
        replaces it, until the declaration in the code changes. Raises TypeError for a float of money, ValueError.
        """
        from liteq.app.limits import importing
        from liteq.workflow.declared.budgets import Budget

        checked_name(tag, "the tag of a budget")
        periods: dict[str, int | None] = {}
        amounts: dict[str, Any] = {}
        for what, given in (("cost", cost), ("tokens", tokens), ("requests", requests)):
            if given is not None:
                amounts[what], periods[what] = _parted(what, given)
        checked: Any = {"soft": soft, "on_exceed": on_exceed, **amounts}
        budget = Budget(**checked)
        limits = tuple(
            (what, _stored(what, getattr(budget, what)), periods[what], budget.soft, int(budget.on_exceed == "ask"))
            for what in amounts
        )
        if not importing():
            self._app.storage.spending.set(tag, limits)
            return
        self.declared[tag] = limits
        if "storage" in vars(self._app):
            self._app.storage.spending.declare({tag: limits})

    def list(self) -> builtins.list[SharedBudget]:
        """The limits of all budgets of tags, as they stand."""
        return [
            SharedBudget(
                one.key, one.what, _shown(one.what, one.most), None if one.period_ms is None else one.period_ms / 1000,
                _shown(one.what, one.spent), _shown(one.what, one.held),
            )
            for one in self._app.storage.spending.list()
        ]  # fmt: skip

    def get(self, tag: str) -> builtins.list[SharedBudget]:
        """The limits of one tag's budget; empty where it has none."""
        return [one for one in self.list() if one.tag == tag]

    def delete(self, tag: str) -> bool:
        """Forget the budget of `tag`; False where it has none. One that the code declares comes back."""
        return self._app.storage.spending.delete(tag)

    def write_declared(self, storage: Storage) -> None:
        """Write the budgets that modules have set while they were imported, where the file does not know them."""
        if self.declared and not storage.driver.read_only:
            storage.spending.declare(self.declared)


def _parted(what: str, given: Any) -> tuple[Any, int | None]:
    """(amount, period in ms) of "100/d"; of an amount alone the period is None."""
    if not isinstance(given, str):
        return given, None
    amount, slash, unit = (part.strip() for part in given.partition("/"))
    if slash and unit not in PERIODS:
        raise ValueError(f'{what} of a budget is an amount, as "100", or one in a time, as "100/d", not {given!r}')
    if what != "cost":
        factor = {"k": 1_000, "M": 1_000_000}.get(amount[-1:], 1)
        digits = amount[:-1] if factor > 1 else amount
        if not digits.isdecimal():
            raise ValueError(f'{what} of a budget is a whole number, as "200k" or "200k/d", not {given!r}')
        return int(digits) * factor, PERIODS.get(unit)
    return amount, PERIODS.get(unit)


def _stored(what: str, amount: Any) -> int:
    return to_units(amount) if what == "cost" else int(amount)


def _shown(what: str, amount: int) -> Decimal | int:
    return from_units(amount) if what == "cost" else amount
