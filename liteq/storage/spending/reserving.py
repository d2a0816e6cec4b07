"""The verb *reserve*: so much of each budget is held for an attempt before it begins, or it does not begin.

What is held goes with the lease of the run: the checkpoint of the step settles it, whatever ends the lease frees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import orjson

from liteq.message import Flag, Hold
from liteq.storage.driver import Transaction
from liteq.storage.spending import asking, waking
from liteq.storage.spending.accounts import Kin, accounts, kin_of, label, lock
from liteq.storage.spending.asking import Question
from liteq.storage.spending.kinds import NOTHING, WHATS, Account, Amounts, Attempt, Place, at, both
from liteq.utils.records import NamedTuple

__all__ = ["Answer", "Wanted", "estimate", "most", "note_tokens", "reserve", "spenders", "summed", "track"]

MOST = "SELECT cost, tokens, requests FROM liteq_spends WHERE name = ?"
SPENDERS = "SELECT name, cost + tokens + requests > 0 FROM liteq_spends"
HOLD = both("UPDATE {table} SET held = held + :amount WHERE {place} AND spent + held + :amount <= most")
WRITE = """
INSERT INTO liteq_reserved (seq, token, gen, scope, pos, attempt, began_ms, name, alone, amounts, tokens)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
TOKENS = "UPDATE liteq_reserved SET tokens = ? WHERE seq = ? AND token = ? AND scope = ? AND pos = ?"
OF_RUN = "SELECT amounts FROM liteq_reserved WHERE seq = ?"
ALONE = "SELECT 1 FROM liteq_reserved WHERE name = ? AND alone = 1 AND began_ms > ? LIMIT 1"
MARK = f"UPDATE liteq_messages SET flags = flags | {Flag.PLACED} WHERE seq = ?"
PATIENCE_MS: Final = 60_000  # behind a first attempt of which nobody knows what it takes


class Wanted(NamedTuple):
    """The most that an attempt may take, as its step says; None for each that it does not tell: the most it ever took.

    `spends`: the step says that it does.
    """

    cost: int | None = None
    tokens: int | None = None
    requests: int | None = None
    spends: bool = False


class Answer(NamedTuple):
    """The answer to an attempt: it may begin, or `exceeded` says why not, or `waits` is a budget with some in flight.

    `asks`: a person is to be asked, now: the request that was written. `spender`: whether such a step spends, as far as
    is known. `reserved`: a row stands for it, to be settled.
    """

    exceeded: str | None = None
    waits: str | None = None
    asks: Question | None = None
    spender: bool | None = None
    reserved: bool = False


def most(tx: Transaction, name: str) -> Amounts | None:
    """The most that an attempt of this step ever took; None where none has ended yet."""
    for row in tx.execute(MOST, (name,)):
        return Amounts._make(row)
    return None


def spenders(tx: Transaction) -> dict[str, bool]:
    """The steps of which something is known, and whether they spend."""
    return {name: bool(spends) for name, spends in tx.execute(SPENDERS)}


def estimate(wanted: Wanted, known: Amounts | None) -> Amounts:
    """So much an attempt may take; a spender makes one request at least."""
    before = known or NOTHING
    amounts = [before[i] if wanted[i] is None else wanted[i] for i in range(len(WHATS))]
    found = Amounts(*map(int, amounts))  # type: ignore[arg-type]
    return found if wanted.requests is not None else found._replace(requests=max(found.requests, 1))


def reserve(tx: Transaction, hold: Hold, attempt: Attempt, wanted: Wanted, *, now_ms: int) -> Answer:
    """Hold what an attempt may take of each budget of its run, all or nothing."""
    lock(tx)
    known = most(tx, attempt.name)
    spender = True if wanted.spends else None if known is None else known != NOTHING
    if spender is False:
        return Answer(spender=False)
    kin = kin_of(tx, hold.run)
    found = accounts(tx, kin, now_ms=now_ms)
    if not found and not spender:
        return Answer(spender=spender)
    amounts = estimate(wanted, known)
    untold = known is None and not all(_is_told(wanted, one) for one in found)
    short = next((one for one in found if not _fits(one, amounts, untold)), None)
    if short is not None and spender is None:  # most steps spend nothing: one of which nothing is known is not refused
        amounts = NOTHING
    elif short is not None:
        return _refused(tx, hold, kin, short, amounts, attempt, now_ms)
    if untold and found and tx.execute(ALONE, (attempt.name, now_ms - PATIENCE_MS)):
        return Answer(waits=label(kin, found[0]), spender=spender)
    _write(tx, hold, attempt, found, amounts, alone=untold)
    for name in {label(kin, one) for one in found}:
        waking.wake_first(tx, name, now_ms=now_ms)
    return Answer(spender=spender, reserved=True)


def _is_told(wanted: Wanted, account: Account) -> bool:
    """Whether a step says how much it takes of what is limited; that it makes one request needs no word."""
    return wanted.spends and (account.what == "requests" or getattr(wanted, account.what) is not None)


def _fits(account: Account, amounts: Amounts, untold: bool) -> bool:
    """Whether so much is left; of what nobody knows yet, whether anything is."""
    amount = getattr(amounts, account.what)
    taken = account.spent + account.held
    return taken + amount <= account.most and not (untold and taken >= account.most)


def _refused(
    tx: Transaction, hold: Hold, kin: Kin, short: Account, amounts: Amounts, attempt: Attempt, now_ms: int
) -> Answer:
    """The answer where too little is left: what is in flight may take less than is held for it."""
    name, amount = label(kin, short), getattr(amounts, short.what)
    if short.spent + amount <= short.most and short.held > _held_above(tx, kin, short):
        return Answer(waits=name, spender=True)
    if short.asks and not short.refused:
        asked = asking.ask(tx, hold, kin, short, now_ms=now_ms)
        if asked is not None:
            return Answer(waits=name, asks=asked.new, spender=True)
    waking.wake_first(tx, name, now_ms=now_ms)
    left = asking.shown(short.what, max(0, short.most - short.spent))
    text = (
        f"the budget {name} has {left} of {asking.shown(short.what, short.most)} {short.what} left, and "
        f"{attempt.name} may take {asking.shown(short.what, amount)}"
    )
    return Answer(exceeded=text, spender=True)


def _held_above(tx: Transaction, kin: Kin, account: Account) -> int:
    """So much is held for steps of the run's parents: they may wait for this run, and it must not wait for them."""
    held = 0
    for seq, _ in kin.chain[1:]:
        for (text,) in tx.execute(OF_RUN, (seq,)):
            held += sum(amount for *place, amount in orjson.loads(text) if tuple(place) == account.place)
    return held


def _write(
    tx: Transaction, hold: Hold, attempt: Attempt, found: Sequence[Account], amounts: Amounts, *, alone: bool
) -> None:
    wanted = [(*one.place, getattr(amounts, one.what)) for one in found if getattr(amounts, one.what)]
    for run, key, what, amount in wanted:
        tx.executemany(HOLD[run > 0], at((run, key, what), amount=amount))
    row = (
        hold.run, hold.token, hold.gen, attempt.scope, attempt.pos, attempt.attempt, attempt.began_ms, attempt.name,
        int(alone and bool(found)), orjson.dumps(wanted).decode(), "[]",
    )  # fmt: skip
    tx.executemany(WRITE, [row])
    tx.executemany(MARK, [(hold.run,)])


def track(tx: Transaction, hold: Hold, attempt: Attempt, tokens: Sequence[tuple[str, int]] = ()) -> None:
    """Have a row stand for an attempt for which nothing is held, but `tokens` of limits."""
    lock(tx)
    _write(tx, hold, attempt, (), NOTHING, alone=False)
    if tokens:
        note_tokens(tx, hold, attempt, tokens)


def note_tokens(tx: Transaction, hold: Hold, attempt: Attempt, tokens: Sequence[tuple[str, int]]) -> None:
    """Note what was taken of limits of tokens beforehand: (key, so many)."""
    params = (orjson.dumps(tokens).decode(), hold.run, hold.token, attempt.scope, attempt.pos)
    if not tx.executemany(TOKENS, [params]):
        track(tx, hold, attempt)
        tx.executemany(TOKENS, [params])


def summed(reserved: Sequence[Sequence[Any]]) -> Counter[Place]:
    """Amounts by where their limits stand."""
    found: Counter[Place] = Counter()
    for run, key, what, amount in reserved:
        found[run, key, what] += amount
    return found
