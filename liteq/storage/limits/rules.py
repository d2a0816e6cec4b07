"""The limits as they are set: read once for each version of them, matched with keys by their text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from liteq.policy.rates import amount_in, per_second
from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = [
    "BEGUN", "FAIR", "KNOWN", "NO_RULES", "OWN", "Cache", "Rule", "Rules", "changed", "check", "delete", "document",
    "ensure", "pattern_of", "queue_of", "read", "version", "write", "write_declared",
]  # fmt: skip

FAIR, OWN, BEGUN = "fair:", "own:", "begun:"  # lines that are not those of a limit's key itself
RULES = "SELECT key, rate, concurrent, declared, tokens FROM liteq_limits"
RULE = f"{RULES} WHERE key = ?"
VERSION = "SELECT value FROM liteq_meta WHERE key = 'limits'"
# Of the clock: a file that comes back from a backup does not come to the number of other limits.
CHANGED = "UPDATE liteq_meta SET value = CASE WHEN value < :now_us THEN :now_us ELSE value + 1 END WHERE key = 'limits'"
SET = """
INSERT INTO liteq_limits (key, rate, concurrent, tokens) VALUES (:key, :rate, :concurrent, :tokens)
ON CONFLICT (key) DO UPDATE SET rate = excluded.rate, concurrent = excluded.concurrent, tokens = excluded.tokens
"""
# One that was set at run time stands until the code says something else.
DECLARE = """
INSERT INTO liteq_limits (key, rate, concurrent, tokens, declared)
VALUES (:key, :rate, :concurrent, :tokens, :declared)
ON CONFLICT (key) DO UPDATE
   SET rate = excluded.rate, concurrent = excluded.concurrent, tokens = excluded.tokens, declared = excluded.declared
"""
ENSURE = "INSERT INTO liteq_limits (key) VALUES (?) ON CONFLICT DO NOTHING"
DELETE = "DELETE FROM liteq_limits WHERE key = ?"
KNOWN: Final = 10_000  # keys of which the rule is remembered; then they are looked for anew


class Rule(NamedTuple):
    """A limit as it is set, with its rate in starts a second, and in tokens of models a second (0.0: none)."""

    key: str
    rate: str | None
    concurrent: int | None
    declared: str | None
    per_s: float
    tokens: str | None = None
    tokens_per_s: float = 0.0
    tokens_most: int = 0  # that its bucket holds: what comes in the unit of its rate


class Rules:
    """All limits of one version, and which of them holds for a key."""

    def __init__(self, rows: list[Rule]) -> None:
        self.by_key = {rule.key: rule for rule in rows}
        # The one with the most letters is the closest.
        patterns = sorted((rule for rule in rows if "*" in rule.key), key=lambda rule: (-len(rule.key), rule.key))
        self._patterns = [(pattern_of(rule.key), rule) for rule in patterns]
        self._found: dict[str, Rule | None] = {}
        self._implied: dict[tuple[str, str], tuple[str, ...]] = {}

    def of(self, key: str) -> Rule | None:
        """The limit that holds for `key`: the exact one, else the closest with a `*`."""
        try:
            return self._found[key]
        except KeyError:
            rule = self.by_key.get(key)
            if rule is None:
                rule = next((rule for regex, rule in self._patterns if regex.fullmatch(key)), None)
            if len(self._found) >= KNOWN:
                self._found.clear()
            self._found[key] = rule
            return rule

    def implied(self, task: str, queue: str) -> tuple[str, ...]:
        """The keys that a message has by its task and its queue, of those that a limit holds for."""
        try:
            return self._implied[task, queue]
        except KeyError:
            keys = tuple(key for key in (f"task:{task}", f"queue:{queue}") if self.of(key) is not None)
            if len(self._implied) >= KNOWN:
                self._implied.clear()
            self._implied[task, queue] = keys
            return keys


def pattern_of(key: str) -> re.Pattern[str]:
    """The keys that `key` stands for: itself, and for each `*` in it any text."""
    return re.compile(".*".join(map(re.escape, key.split("*"))), re.DOTALL)


def queue_of(key: str) -> str | None:
    """The one queue that a limit of `key` is of; None for a limit that holds in every queue."""
    kind, _, name = key.partition(":")
    return name if kind == "queue" and name and "*" not in name else None


NO_RULES: Final = Rules([])


class Cache:
    """The rules that a process has read last."""

    __slots__ = ("_rules", "version")

    def __init__(self) -> None:
        self.version: int | None = 0  # 0: there was no limit at the last look, and a claim without them is tried
        self._rules = NO_RULES

    def rules(self, tx: Transaction, version: int | None) -> Rules:
        """The rules in force in this transaction, which has found this version of them."""
        if version != self.version:
            self._rules = read(tx)
            self.version = version
        return self._rules


def version(tx: Transaction) -> int:
    """The number of what is limited now; another one whenever that has changed, 0 where nothing is."""
    found: int = tx.execute(VERSION)[0][0]
    return found


def read(tx: Transaction) -> Rules:
    """The limits in the file, but for those that another program wrote and that are none."""
    return Rules([rule for row in tx.execute(RULES) if (rule := _rule(*row)) is not None])


def _rule(
    key: str, rate: str | None, concurrent: int | None, declared: str | None, tokens: str | None = None
) -> Rule | None:
    try:
        rule = Rule(key, rate, int(concurrent) if concurrent else None, declared, per_second(rate))
        if tokens is None:
            return rule
        most, period_s = amount_in(tokens)
        return rule._replace(tokens=tokens, tokens_per_s=most / period_s, tokens_most=most)
    except (ValueError, TypeError):
        return None


def check(key: str, rate: str | float | None, concurrent: object, tokens: str | None = None) -> str | None:
    """The rate as text, None for no limit. Raises ValueError for a key, a rate or a number that is none."""
    if not key or key.startswith((FAIR, OWN, BEGUN)):
        raise ValueError(f"{key!r} is no key of a limit: write a text such as 'user:42', 'user:*' or 'task:NAME'")
    if concurrent is not None and (not isinstance(concurrent, int) or isinstance(concurrent, bool) or concurrent < 1):
        raise ValueError(f"concurrent is a whole number from 1, or None for no limit; not {concurrent!r}")
    if tokens is not None:
        amount_in(tokens)
    return str(rate) if per_second(rate) else None


def write(
    tx: Transaction, key: str, rate: str | None, concurrent: int | None, tokens: str | None = None, *, now_ms: int
) -> None:
    """Set a limit that `check` has found good; without a rate and a number, one that lifts what the code declares."""
    declared = [row[3] for row in tx.execute(RULE, (key,))]
    if rate is None and concurrent is None and tokens is None and declared in ([], [None]):
        tx.executemany(DELETE, [(key,)])
    else:
        tx.executemany(SET, [{"key": key, "rate": rate, "concurrent": concurrent, "tokens": tokens}])
    changed(tx, now_ms=now_ms)


def write_declared(
    tx: Transaction, declared: Mapping[str, tuple[str | None, int | None, str | None]], *, now_ms: int
) -> list[str]:
    """Take over the limits in the code; the keys of those that are new or others now."""
    known = read(tx).by_key
    fresh = []
    for key, (rate, concurrent, tokens) in declared.items():
        told = document(rate, concurrent, tokens)
        before = known.get(key)
        if told == (None if before is None else before.declared):
            continue
        if told is None:
            tx.executemany(DELETE, [(key,)])
        else:
            row = {"key": key, "rate": rate, "concurrent": concurrent, "tokens": tokens, "declared": told}
            tx.executemany(DECLARE, [row])
        fresh.append(key)
    if fresh:
        changed(tx, now_ms=now_ms)
    return fresh


def document(rate: str | None, concurrent: int | None, tokens: str | None = None) -> str | None:
    """The note of a limit that the code declares; None where it declares none."""
    if rate is None and concurrent is None and tokens is None:
        return None
    return orjson.dumps([rate, concurrent] if tokens is None else [rate, concurrent, tokens]).decode()


def ensure(tx: Transaction, key: str, *, now_ms: int) -> None:
    """Have a limit under `key`, which limits nothing where there is none."""
    if tx.executemany(ENSURE, [(key,)]):
        changed(tx, now_ms=now_ms)


def delete(tx: Transaction, key: str, *, now_ms: int) -> bool:
    """Forget a limit; False where there is none."""
    gone = tx.executemany(DELETE, [(key,)]) == 1
    if gone:
        changed(tx, now_ms=now_ms)
    return gone


def changed(tx: Transaction, *, now_ms: int) -> None:
    """Have every process read the limits anew."""
    tx.executemany(CHANGED, [{"now_us": now_ms * 1000}])
