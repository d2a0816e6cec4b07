"""The verbs' SQL in PostgreSQL's words: its placeholders, and the clauses that the hints stand for.

Each text is translated once; the verbs' are constants. A statement of the user's (`ctx.tx.execute`) goes the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import uuid4

from liteq.exceptions import StorageError
from liteq.storage.driver import AT_ONCE, GLOB, LATER, LOCK, SKIP_LOCKED, WITH_TOKENS, Params

__all__ = ["GLOB_OPERATOR", "Statement", "sought", "statement", "values"]

GLOB_OPERATOR = "~*~"  # made by the migration
CLAUSES = {SKIP_LOCKED: "FOR UPDATE SKIP LOCKED", LOCK: "FOR UPDATE", GLOB: GLOB_OPERATOR}
LOCKS = (SKIP_LOCKED, LOCK)
NOWHERE: Final = f"\uffff{uuid4().hex}"  # in no row, and behind every text that is
# Around a SELECT in brackets that locks: it is run once, whatever the plan. A nested loop would run it again for each
# row, and it would then pass over those that the statement has changed already: a LIMIT would be one for each row.
ONCE, OF_ONCE = "WITH locked AS MATERIALIZED (", ") SELECT * FROM locked"
# The state of a row that is named by its key. As `state || ''` it leads to no partial index: by its statistics those of
# a queue have few rows, so the planner would have one read from end to end rather than ask for the key, with each row
# that was in it since the last VACUUM.
NAMED = re.compile(r"(\b(?:seq|id) = (?:\?|:\w+) AND (?:\w+\.)?state)(?= = '| IN \()")
# First those that are left as they are: texts, quoted names, comments without a hint, casts.
TOKENS = re.compile(
    rf"""
    '(?:[^']|'')*' | "[^"]*" | --[^\n]* | ::
  | (?P<hint>{re.escape(SKIP_LOCKED)} | {re.escape(LOCK)} | \b{GLOB}\b)
  | (?P<bracket>[()])
  | /\*.*?\*/
  | \?(?P<number>\d*) | (?<![\w:])[:](?P<name>[A-Za-z_]\w*)
    """.replace(" skip locked ", r"\ skip\ locked\ ").replace(" lock ", r"\ lock\ "),
    re.VERBOSE | re.DOTALL,
)


class Statement(NamedTuple):
    """A translated text. `names`: the parameters in the order of their numbers; None where they are given in order.

    `look`: the same without locks, for a transaction that only reads: there is nothing to protect, and the server
    refuses them there. `at_once`, `later`, `tokens`: whether it has those hints.
    """

    sql: bytes
    look: bytes
    names: tuple[str, ...] | None
    at_once: bool
    later: bool
    tokens: bool


@lru_cache(maxsize=2048)
def statement(sql: str) -> Statement:
    """Translate `sql`. Raises StorageError where it mixes `?` and `:name`."""
    names: dict[str, int] = {}
    plain = 0

    def placed(found: re.Match[str]) -> str:
        nonlocal plain
        if found["hint"]:
            return CLAUSES[found["hint"]]
        if found["name"]:
            return f"${names.setdefault(found['name'], len(names) + 1)}"
        if found["number"] is not None:
            plain += 1
            return f"${found['number'] or plain}"
        return found[0]

    sql = NAMED.sub(r"\1 || ''", sql) if "liteq_messages" in sql else sql
    text = TOKENS.sub(placed, _once(sql))
    look = TOKENS.sub(lambda found: " " if found["hint"] in LOCKS else found[0], sql)
    if names and plain:
        raise StorageError(f"a statement has either ? or :name for its parameters, not both: {sql.strip()[:80]!r}")
    order = None if plain or not names else tuple(names)
    names, plain = {}, 0
    return Statement(
        text.encode(), TOKENS.sub(placed, look).encode(), order, AT_ONCE in sql, LATER in sql, WITH_TOKENS in sql
    )


def _once(sql: str) -> str:
    """`sql`, in which each SELECT in brackets that ends with the hint of a lock is run once."""
    begins, words = list[int](), list[tuple[int, str]]()
    for found in TOKENS.finditer(sql):
        if found["bracket"] == "(":
            begins.append(found.end())
        elif found["bracket"] and begins:
            begins.pop()
        elif found["hint"] in LOCKS and begins:
            words += [(begins[-1], ONCE), (found.end(), OF_ONCE)]
    for place, word in sorted(words, reverse=True):
        sql = f"{sql[:place]}{word}{sql[place:]}"
    return sql


def values(names: tuple[str, ...] | None, params: Params) -> list[object]:
    """`params` in the order of the statement's numbers."""
    if names is None:
        return [] if isinstance(params, Mapping) else list(params)
    if not isinstance(params, Mapping):
        return list(params)  # SQLite takes named ones in their order as well
    try:
        return [params[name] for name in names]
    except KeyError as error:
        raise StorageError(f"the statement's parameter :{error.args[0]} was not given") from error


def sought(given: list[object]) -> list[object]:
    """`given` for a look: the server keeps no text with a NUL, so one that is looked for is found nowhere."""
    return [NOWHERE if isinstance(value, str) and "\0" in value else value for value in given]
