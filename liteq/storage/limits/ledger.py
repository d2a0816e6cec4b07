"""The places and tokens that are left to one claim, key by key, and those that it takes."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf
from typing import Final

import orjson

from liteq.policy.rates import Bucket
from liteq.storage.driver import Transaction
from liteq.storage.limits import keys as _keys
from liteq.storage.limits import places
from liteq.storage.limits.rules import Rule, Rules
from liteq.utils.records import NamedTuple, dataclass

__all__ = ["NO_KEYS", "TRIPS", "Keys", "Lack", "Ledger", "parsed"]

NO_STATE: Final = _keys.State()
TRIPS: Final = 5  # failures in a row: from then on one step at a time goes through, until one succeeds


class Keys(NamedTuple):
    """The keys of a message as it carries them: its fair key, and those of its limits."""

    fair: str | None
    limits: tuple[str, ...]


NO_KEYS: Final = Keys(None, ())


def parsed(keys: str | None) -> Keys:
    """The keys in a row; none where another program wrote something else."""
    if keys is None:
        return NO_KEYS
    try:
        fair, *limits = orjson.loads(keys)
    except (ValueError, TypeError):
        return NO_KEYS
    if not isinstance(fair, str | None) or not all(isinstance(key, str) for key in limits):
        return NO_KEYS
    return Keys(fair or None, tuple(dict.fromkeys(limits)))


class Lack(NamedTuple):
    """The key that a message lacks something of, and when that comes, in ms; None: when a place is free.

    `token`: it is a token alone. `shut`: the key is paused, or failing and probed by another one. `per_s`: its starts a
    second before long; 0.0: any.
    """

    key: str
    at_ms: int | None
    token: bool = False
    shut: bool = False
    per_s: float = 0.0


class _Account:
    """The places and tokens that are left of one key."""

    __slots__ = ("bucket", "key", "limited", "paused_ms", "places", "spent", "steady", "tokens", "tripped")

    def __init__(self, key: str, places_left: float, bucket: Bucket | None, paused_ms: int, limited: bool) -> None:
        self.key = key
        self.places = places_left
        self.bucket = bucket
        self.paused_ms = paused_ms
        self.limited = limited  # its places are counted
        self.spent = False
        self.tripped = False  # it fails: one at a time goes through
        self.steady = 0.0  # starts a second once a pause is forgotten; 0.0: not known
        self.tokens: Tokens | None = None


@dataclass(slots=True)
class Tokens:
    """A bucket of models' tokens: what an answer takes is known behind it, so it may be emptier than empty.

    `most` is what it holds, `full_at` when it is full again, in seconds.
    """

    most: int
    per_s: float
    full_at: float
    changed: bool = False

    def wait_s(self, wanted: int, now: float) -> float:
        """Seconds until so many are there, or it is full."""
        lacking = min(max(wanted, 1), self.most) - (self.most - max(0.0, self.full_at - now) * self.per_s)
        return max(0.0, lacking / self.per_s)

    def take(self, n: int, now: float) -> None:
        """Take so many; fewer than none are given back."""
        self.full_at = min(max(now, self.full_at) + n / self.per_s, now + 10 * self.most / self.per_s)
        self.changed = True


class Ledger:
    """The accounts of one transaction: what it has found, and taken."""

    def __init__(self, tx: Transaction, rules: Rules, now_ms: int) -> None:
        self._tx = tx
        self._rules = rules
        self._now_ms = now_ms
        self._accounts: dict[str, _Account | None] = {}
        self._pauses: dict[str, int] = {}

    def keys_of(self, task: str, queue: str, limits: tuple[str, ...]) -> tuple[str, ...]:
        """All keys of a message that may hold it back."""
        implied = self._rules.implied(task, queue)
        return implied + limits if limits else implied

    def lack(
        self, keys: Iterable[str], *, begun: int = 0, placed: bool = False, tokens: int | None = None,
        first: str | None = None,
    ) -> Lack | None:  # fmt: skip
        """The first of `keys` that lacks something for one more message; None: it may start.

        `begun`: a run that goes on needs a place and no token. `placed`: what has its places needs tokens alone.
        `tokens`: of a step, what it may take of a model's; None: it takes none.
        `first`: the key that is looked at before the others, where it is one of them.
        """
        for key in keys if first is None else sorted(keys, key=first.__ne__):
            account = self._account(key)
            if account is None:
                continue
            per_s = account.steady
            if account.paused_ms > self._now_ms:
                return Lack(key, account.paused_ms, shut=True, per_s=per_s)
            if account.places < 1 and not placed:
                return Lack(key, None, shut=account.tripped)
            if tokens is not None and account.tokens is not None:
                wait_ms = ceil(account.tokens.wait_s(tokens, self._now_ms / 1000) * 1000)
                if wait_ms > 0:
                    return Lack(key, self._now_ms + wait_ms, token=True, per_s=account.tokens.per_s / max(tokens, 1))
            bucket = account.bucket
            if bucket is not None and not begun and bucket.tokens(self._now_ms / 1000) < 1:
                wait_ms = ceil(bucket.wait_s(self._now_ms / 1000) * 1000)
                return Lack(key, self._now_ms + max(wait_ms, 1), token=True, per_s=per_s)
        return None

    def take(self, keys: Iterable[str], *, begun: int = 0, placed: bool = False) -> list[str]:
        """Take what one message needs, of all of its keys; those of which it has a place now."""
        taken = []
        for key in keys:
            account = self._account(key)
            if account is None:
                continue
            if account.limited and not placed:
                account.places -= 1
                taken.append(key)
            if account.bucket is not None and not begun:
                account.bucket.take(1, self._now_ms / 1000)
                account.spent = True
        return taken

    def take_tokens(self, keys: Iterable[str], n: int) -> list[str]:
        """Take `n` tokens of a model's under each of `keys` that limits them; the keys. Negative: give back."""
        taken = []
        for key in keys:
            account = self._account(key)
            if account is not None and account.tokens is not None:
                account.tokens.take(n, self._now_ms / 1000)
                taken.append(key)
        return taken

    def write(self) -> None:
        """Write what was taken of the buckets."""
        for key, account in self._accounts.items():
            if account is not None and account.spent and account.bucket is not None:
                _keys.spend(self._tx, key, int(account.bucket.full_at * 1e6))
            if account is not None and account.tokens is not None and account.tokens.changed:
                _keys.spend_tokens(self._tx, key, int(account.tokens.full_at * 1e6))

    def _account(self, key: str) -> _Account | None:
        """The account of `key`; None where nothing limits it."""
        try:
            return self._accounts[key]
        except KeyError:
            account = self._accounts[key] = self._open(key, self._rules.of(key))
            return account

    def _open(self, key: str, rule: Rule | None) -> _Account | None:
        found = _keys.state(self._tx, key)
        if rule is None and (found is None or found.paused_ms is None):
            return None
        found = found or NO_STATE
        until_ms = max(found.paused_ms or 0, 0 if rule is None or rule.key == key else self._pause_of(rule.key))
        own = rule.per_s if rule is not None else 0.0
        # A rate that people have set is known to hold; else it is what the other side took before it refused.
        paced = _keys.paced_per_s(until_ms or None, self._now_ms, None if own else found.pace)
        per_s = _slowest(own, paced)
        bucket = Bucket(per_s, found.full_us / 1e6) if per_s else None
        tripped = found.fails >= TRIPS
        limited = tripped or (rule is not None and rule.concurrent is not None)
        most = inf if rule is None or rule.concurrent is None else rule.concurrent
        left = min(most, 1 if tripped else inf) - places.running(self._tx, key) if limited else inf
        account = _Account(key, left, bucket, until_ms, limited)
        account.tripped = tripped
        account.steady = own or max(per_s, (found.pace or 0) / 1000)
        if rule is not None and rule.tokens_per_s:
            account.tokens = Tokens(rule.tokens_most, rule.tokens_per_s, found.tokens_us / 1e6)
        # Capped once and written: capped at each look alone, it would stay empty for as long as the clock was set back.
        account.spent = bucket is not None and bucket.cap(self._now_ms / 1000)
        return account

    def _pause_of(self, pattern: str) -> int:
        if pattern not in self._pauses:
            found = _keys.state(self._tx, pattern)
            self._pauses[pattern] = 0 if found is None else found.paused_ms or 0
        return self._pauses[pattern]


def _slowest(*per_s: float) -> float:
    """The lowest of these rates; 0.0, which is none, where all are."""
    return min((rate for rate in per_s if rate), default=0.0)
