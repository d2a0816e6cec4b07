"""The data of spending. Money is a whole number of units of 1e-10 here, so that sums are exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from liteq.storage.driver import Params
from liteq.utils.records import NamedTuple

__all__ = [
    "NOTHING", "WHATS", "Account", "Amounts", "Attempt", "Limit", "Place", "Spend", "Warned", "at", "both",
    "label_of",
]  # fmt: skip

WHATS: Final = ("cost", "tokens", "requests")

Limit = tuple[str, int, int | None, float | None, int]
"""A limit of a budget to be: (what, most, period in ms or None, soft or None, 1 where a person is asked)."""


Place = tuple[int, str, str]
"""Where a limit of a budget stands: (run, "", what) of a run's own, (0, tag, what) of a shared one."""


class Amounts(NamedTuple):
    """So much of each, by the names in WHATS."""

    cost: int = 0
    tokens: int = 0
    requests: int = 0


NOTHING: Final = Amounts()


class Spend(NamedTuple):
    """One call of `ctx.spend`. `cost` is None where the price is not known. `details`: JSON."""

    model: str | None = None
    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: int | None = None
    details: bytes | None = None


class Attempt(NamedTuple):
    """An attempt of a step: its place, its number from 1, when it began in ms, and the step's name."""

    scope: str
    pos: int
    attempt: int
    began_ms: int
    name: str


class Account(NamedTuple):
    """A limit of one budget, as it stands: of a run and its children (`run`), or of all runs with the tag `key`."""

    run: int
    key: str
    what: str
    most: int
    period_ms: int | None
    since_ms: int
    spent: int
    held: int
    soft: float | None
    warned: int
    asks: int
    refused: int

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.run, self.key, self.what


class Warned(NamedTuple):
    """A budget of which so much is spent that people want to know: `most` and `spent` of `what`."""

    label: str
    what: str
    spent: int
    most: int


def both(sql: str) -> Mapping[bool, str]:
    """A statement about one limit of a budget, by whether that is a run's own; `{table}` and `{place}` stand in it."""
    own = {"table": "liteq_run_budgets", "place": "run = :run AND what = :what"}
    shared = {"table": "liteq_budgets", "place": "key = :key AND what = :what"}
    return {True: sql.format(**own), False: sql.format(**shared)}


def at(place: Place, **params: object) -> list[Params]:
    """The parameters of a statement of `both` for a place: the one of `STATEMENT[place[0] > 0]`."""
    run, key, what = place
    where: dict[str, object] = {"run": run} if run else {"key": key}
    return [{**where, "what": what, **params}]


def label_of(run_id: str, key: str) -> str:
    """The name of a budget for people: the tag of a shared one, or the run that has it."""
    return key or f"of run {run_id}"
