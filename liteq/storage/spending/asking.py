"""A budget that asks: a request to a person, in the run that has the budget, which holds nothing while it is open.

Those that wait for the budget are woken by the decision; its amount is added in the decision's own transaction.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson

from liteq.message import Hold, StepRow
from liteq.policy.money import as_text, from_units, to_units
from liteq.states import UNFINISHED, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.spending import waking
from liteq.storage.spending.accounts import Kin, label
from liteq.storage.spending.kinds import Account, at, both
from liteq.storage.steps import rows
from liteq.storage.steps.wake import Waiting
from liteq.utils.records import NamedTuple

__all__ = ["PLACE", "TITLE", "Asked", "Question", "answer", "ask", "shown"]

TITLE: Final = "add how much?"
PLACE: Final = "?budget"  # the scope of these requests; no task of a body has such a name
OWNER = f"""
SELECT m.id, m.task, m.queue, r.gen FROM liteq_messages AS m JOIN liteq_runs AS r ON r.run = m.seq
 WHERE m.seq = ? AND m.state IN {sql_list(UNFINISHED)}
"""
OPEN = "SELECT 1 FROM liteq_steps WHERE run = ? AND gen = ? AND scope = ? AND ended_ms IS NULL LIMIT 1"
LAST = "SELECT coalesce(max(pos), 0) FROM liteq_steps WHERE run = ? AND gen = ? AND scope = ?"
ADD = both("UPDATE {table} SET most = most + :amount, warned = 0, refused = 0 WHERE {place}")
REFUSE = both("UPDATE {table} SET refused = 1 WHERE {place}")


class Question(NamedTuple):
    """A request that is new, to be told to people: of the run `id` of the workflow `task`."""

    id: str
    task: str
    queue: str
    row: StepRow


class Asked(NamedTuple):
    """There is a request; `new`: it was written now."""

    new: Question | None


def shown(what: str, amount: int) -> str:
    """An amount in words."""
    return as_text(from_units(amount)) if what == "cost" else str(amount)


def ask(tx: Transaction, hold: Hold, kin: Kin, short: Account, *, now_ms: int) -> Asked | None:
    """Have a request to add to a budget open, in the run that has it; None where that has ended.

    One that is shared is asked for in the run that meets it.
    """
    owner = short.run or hold.run
    for id_, task, queue, gen in tx.execute(OWNER, (owner,)):
        if tx.execute(OPEN, (owner, gen, PLACE)):
            return Asked(None)
        pos = int(tx.execute(LAST, (owner, gen, PLACE))[0][0]) + 1
        details = _document(label(kin, short), short)
        row = StepRow(
            PLACE, pos, "approval", TITLE, waited=f"approval {TITLE}", details=details, started_ms=now_ms
        )  # fmt: skip
        rows.write_new(tx, owner, gen, [row])
        return Asked(Question(id_, task, queue, row))
    return None


def _document(name: str, short: Account) -> bytes:
    most, spent = shown(short.what, short.most), shown(short.what, short.spent)
    add = {"type": "string"} if short.what == "cost" else {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    schema = {"type": "object", "properties": {"add": add}, "required": ["add"]}
    details = {"budget": name, "what": short.what, "most": most, "spent": spent}
    return orjson.dumps({"details": details, "schema": schema, "form": None, "of": short.place, "label": name})


def answer(tx: Transaction, place: Waiting, *, ok: bool, data: bytes | None, now_ms: int) -> bool:
    """Add to a budget as a person decided, or refuse it; whether a run goes on. Raises ValueError for no amount."""
    document: dict[str, Any] = orjson.loads(place.details or b"{}")
    run, key, what = document["of"]
    if ok:
        tx.executemany(
            ADD[run > 0], at((run, key, what), amount=_amount(what, None if data is None else orjson.loads(data)))
        )
    else:
        tx.executemany(REFUSE[run > 0], at((run, key, what)))
    return waking.wake_all(tx, document["label"], now_ms=now_ms)


def _amount(what: str, data: Any) -> int:
    found = data.get("add") if isinstance(data, dict) else None
    try:
        if isinstance(found, (str, int)) and not isinstance(found, bool):
            amount = Decimal(found)
            if amount.is_finite() and amount > 0 and (what == "cost" or amount == int(amount)):
                return to_units(amount) if what == "cost" else int(amount)
    except (InvalidOperation, OverflowError):
        pass
    like = '"0.10"' if what == "cost" else '"1000"'
    raise ValueError(
        f'the data of {TITLE!r} is {{"add": {like}}}, so much more {what}, not {data!r}; nothing was added'
    )
