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
from liteq.utils.records import NamedTuple

__all__ = ["NO_KEYS", "Keys", "Lack", "Ledger", "parsed"]


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

    `token`: it is a token alone.
    """

    key: str
    at_ms: int | None
    token: bool = False


class _Account:
    """The places and tokens that are left of one key."""

    __slots__ = ("bucket", "key", "limited", "paused_ms", "places", "spent")

    def __init__(self, key: str, places_left: float, bucket: Bucket | None, paused_ms: int, limited: bool) -> None:
        self.key = key
        self.places = places_left
        self.bucket = bucket
        self.paused_ms = paused_ms
        self.limited = limited  # its places are counted
        self.spent = False


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

    def lack(self, keys: Iterable[str], *, begun: int = 0, placed: bool = False) -> Lack | None:
        """The first of `keys` that lacks something for one more message; None: it may start.

        `begun`: a run that goes on needs a place and no token. `placed`: what has its places needs tokens alone.
        """
        for key in keys:
            account = self._account(key)
            if account is None:
                continue
            if account.paused_ms > self._now_ms:
                return Lack(key, account.paused_ms)
            if account.places < 1 and not placed:
                return Lack(key, None)
            bucket = account.bucket
            if bucket is not None and not begun and bucket.tokens(self._now_ms / 1000) < 1:
                wait_ms = ceil(bucket.wait_s(self._now_ms / 1000) * 1000)
                return Lack(key, self._now_ms + max(wait_ms, 1), token=True)
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

    def write(self) -> None:
        """Write what was taken of the buckets."""
        for key, account in self._accounts.items():
            if account is not None and account.spent and account.bucket is not None:
                _keys.spend(self._tx, key, int(account.bucket.full_at * 1e6))

    def _account(self, key: str) -> _Account | None:
        """The account of `key`; None where nothing limits it."""
        try:
            return self._accounts[key]
        except KeyError:
            account = self._accounts[key] = self._open(key, self._rules.of(key))
            return account

    def _open(self, key: str, rule: Rule | None) -> _Account | None:
        found = _keys.state(self._tx, key)
        if rule is None and (found is None or found[1] is None):
            return None
        full_us, paused_ms = found or (0, None)
        until_ms = max(paused_ms or 0, 0 if rule is None or rule.key == key else self._pause_of(rule.key))
        per_s = _slowest(rule.per_s if rule is not None else 0.0, _keys.paced_per_s(until_ms or None, self._now_ms))
        bucket = Bucket(per_s, full_us / 1e6) if per_s else None
        limited = rule is not None and rule.concurrent is not None
        left = inf
        if rule is not None and rule.concurrent is not None:
            left = rule.concurrent - places.running(self._tx, key)
        account = _Account(key, left, bucket, until_ms, limited)
        # Capped once and written: capped at each look alone, it would stay empty for as long as the clock was set back.
        account.spent = bucket is not None and bucket.cap(self._now_ms / 1000)
        return account

    def _pause_of(self, pattern: str) -> int:
        if pattern not in self._pauses:
            found = _keys.state(self._tx, pattern)
            self._pauses[pattern] = 0 if found is None else found[1] or 0
        return self._pauses[pattern]


def _slowest(*per_s: float) -> float:
    """The lowest of these rates; 0.0, which is none, where all are."""
    return min((rate for rate in per_s if rate), default=0.0)
