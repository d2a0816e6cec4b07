"""The rows of usage: written with the record of a step, and their sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from liteq.storage.driver import Row, Transaction
from liteq.storage.spending.accounts import Kin
from liteq.storage.spending.kinds import Amounts, Attempt, Spend
from liteq.utils.records import NamedTuple

__all__ = ["Sum", "expire", "of_tree", "since", "total", "write"]

WRITE = """
INSERT INTO liteq_usage (
    run, n, gen, scope, pos, attempt, began_ms, source, workflow, step, model, requests, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, cost, tags, details, at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_SUMS: Final = """
       count(*), sum(u.requests), sum(u.input_tokens), sum(u.output_tokens), sum(u.cache_read_tokens),
       sum(u.cache_write_tokens), sum(u.cost), count(u.cost)
"""
RUN = "SELECT seq, id, root_id FROM liteq_messages WHERE id = ?"
OF_ROOT = "SELECT seq, id, parent_id FROM liteq_messages WHERE root_id IS NOT NULL AND root_id = ?"
SUMS_OF_ROOT = f"""
SELECT u.run, u.source, u.model, {_SUMS}
  FROM liteq_messages AS m JOIN liteq_usage AS u ON u.run = m.seq
 WHERE m.root_id IS NOT NULL AND m.root_id = ? GROUP BY u.run, u.source, u.model
"""
SUMS_OF_RUN = f"""
SELECT u.run, u.source, u.model, {_SUMS} FROM liteq_usage AS u
 WHERE u.run = ? GROUP BY u.run, u.source, u.model
"""
# By the model always, as the sums of one name say what it was of each; a day is one in UTC.
_SINCE: Final = f"""
SELECT {{}} AS name, u.source, u.model, {_SUMS} FROM liteq_usage AS u WHERE u.at_ms >= ?
 GROUP BY {{}}, u.source, u.model
"""
SINCE: dict[str, str] = {
    name: _SINCE.format(column, column)
    for name, column in {
        "model": "u.model", "workflow": "u.workflow", "day": "u.at_ms / 86400000", "tag": "u.tags"
    }.items()
}  # fmt: skip
EXPIRE = """
DELETE FROM liteq_usage WHERE (run, n) IN (
    SELECT run, n FROM liteq_usage WHERE at_ms <= :before_ms ORDER BY at_ms LIMIT :limit)
"""


class Sum(NamedTuple):
    """Rows of one source and model, summed; `name`: what they are summed by. `priced` of them have a cost."""

    name: object
    source: str
    model: str | None
    rows: int
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: int | None
    priced: int


def _sum(row: Row) -> Sum:
    """A server sums to numbers of another kind."""
    return Sum(*row[:3], *(None if value is None else int(value) for value in row[3:]))


def total(spends: Iterable[Spend], *, without_price: int = 0) -> Amounts:
    """The sum of `spends`; one whose price is not known counts as `without_price`."""
    cost = tokens = requests = 0
    for spend in spends:
        cost += without_price if spend.cost is None else spend.cost
        tokens += spend.input_tokens + spend.output_tokens
        requests += spend.requests
    return Amounts(cost, tokens, requests)


def write(
    tx: Transaction,
    run: int,
    gen: int,
    attempt: Attempt,
    spends: Sequence[Spend],
    kin: Kin,
    *,
    source: str,
    now_ms: int,
) -> bool:
    """Write what an attempt has spent; False where that is written already."""
    tags = orjson.dumps(kin.tags).decode() if kin.tags else None
    place = (gen, attempt.scope, attempt.pos, attempt.attempt, attempt.began_ms, source)
    of = kin.chain[0][1] if kin.chain else run
    rows = [
        (run, _number(of, *place, i), *place, kin.workflow, attempt.name, *one[:7], tags, one.details, now_ms)
        for i, one in enumerate(spends)
    ]
    return tx.executemany(WRITE, rows) > 0


def _number(*place: object) -> int:
    """The same number for the same attempt of a run: written twice it is there once, beside other runs' rows."""
    from hashlib import blake2b  # its library is large, and only what a model's call costs has use for it

    return int.from_bytes(blake2b(repr(place).encode(), digest_size=8).digest()) >> 2


def of_tree(tx: Transaction, run_id: str) -> list[Sum] | None:
    """The spending of the run of this id, and of all that it has started; None where there is no such run."""
    for seq, id_, root_id in tx.execute(RUN, (run_id,)):
        family = _below(tx, seq, id_, root_id or id_)
        rows = tx.execute(SUMS_OF_ROOT, (root_id or id_,))
        own = [] if any(row[0] == seq for row in rows) else tx.execute(SUMS_OF_RUN, (seq,))
        return [_sum(row) for row in (*own, *rows) if row[0] in family]
    return None


def _below(tx: Transaction, seq: int, id_: str, root_id: str) -> set[int]:
    """The row numbers of a run and of all below it. A child's number is not always above its parent's."""
    by_parent: dict[str, list[tuple[int, str]]] = {}
    for child, child_id, parent_id in tx.execute(OF_ROOT, (root_id,)):
        if parent_id is not None:
            by_parent.setdefault(parent_id, []).append((child, child_id))
    found, left = {seq}, [id_]
    while left:
        for child, child_id in by_parent.get(left.pop(), ()):
            if child not in found:
                found.add(child)
                left.append(child_id)
    return found


def since(tx: Transaction, by: str, since_ms: int) -> list[Sum]:
    """All that was spent from a time on, summed by model, workflow, day (days since 1970) or tags (JSON)."""
    return [_sum(row) for row in tx.execute(SINCE[by], (since_ms,))]


def expire(tx: Transaction, *, before_ms: int, limit: int) -> int:
    """Delete up to `limit` rows of before a time; how many."""
    return tx.executemany(EXPIRE, [{"before_ms": before_ms, "limit": limit}])
