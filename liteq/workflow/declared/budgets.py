"""`Budget`: how much a workflow may spend; `Usage`: how much was spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from liteq.policy.money import to_units
from liteq.utils.misspelt import suggesting
from liteq.workflow.declared.money import checked_count, checked_money

__all__ = ["Budget", "Usage", "checked_budget", "limits_of"]

OnExceed = Literal["raise", "ask"]


@dataclass(frozen=True, slots=True, init=False)
class Budget:
    """The most that a run and its children may spend: `cost` in money, `tokens`, `requests`; None: no limit of that.

    `soft`: the share of it, from 0 to 1, at which the signal `budget_warning` is sent, once; None: never. `on_exceed`:
    "raise" BudgetExceeded in the body before the step that would break it, or "ask" a person how much to add.
    """

    cost: Decimal | None
    tokens: int | None
    requests: int | None
    soft: float | None
    on_exceed: OnExceed

    @suggesting
    def __init__(
        self,
        *,
        cost: Decimal | str | int | None = None,
        tokens: int | None = None,
        requests: int | None = None,
        soft: float | None = 0.8,
        on_exceed: OnExceed = "raise",
    ) -> None:
        """Check and keep them. Raises TypeError for a float of money, ValueError for what is no amount."""
        if cost is None and tokens is None and requests is None:
            raise ValueError("a Budget limits cost=, tokens= or requests=: give one of them")
        if on_exceed not in ("raise", "ask"):
            raise ValueError(f"on_exceed of a Budget is 'raise' or 'ask', not {on_exceed!r}")
        if soft is not None and (isinstance(soft, bool) or not 0 <= soft <= 1):
            raise ValueError(f"soft of a Budget is a share from 0 to 1, not {soft!r}")
        put = object.__setattr__
        put(self, "cost", None if cost is None else checked_money(cost, "the cost of a Budget"))
        put(self, "tokens", None if tokens is None else checked_count(tokens, "tokens of a Budget"))
        put(self, "requests", None if requests is None else checked_count(requests, "requests of a Budget"))
        put(self, "soft", soft)
        put(self, "on_exceed", on_exceed)


def checked_budget(budget: Any) -> Budget | None:
    """`budget`, an option of a workflow. Raises TypeError for what is none."""
    if budget is None or isinstance(budget, Budget):
        return budget
    raise TypeError(f'budget is a Budget, as Budget(cost="2.50"), not {budget!r}')


def limits_of(budget: Budget) -> tuple[tuple[str, int, int | None, float | None, int], ...]:
    """A budget as it is stored: (what, most, period in ms, soft, 1 where it asks) of each of its limits."""
    asks = int(budget.on_exceed == "ask")
    amounts = {"cost": None if budget.cost is None else to_units(budget.cost)}
    amounts |= {"tokens": budget.tokens, "requests": budget.requests}
    return tuple((what, most, None, budget.soft, asks) for what, most in amounts.items() if most is not None)


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests, tokens and money that were spent: each counted once for each recorded answer.

    `cost` is None where the price of a model is not known. `saved`: what memo hits did not spend. `unknown`: attempts
    that were killed, of which nobody knows what they took. `models`: the same by the name of the model.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: Decimal | None = Decimal(0)
    saved: Decimal | None = Decimal(0)
    memo_hits: int = 0
    unknown: int = 0
    models: Mapping[str, Usage] = field(default_factory=dict)
