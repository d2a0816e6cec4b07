"""Why a message is held back by a key: by a limit's lack of a place or a token, by a pause, by the turns of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from liteq.context import App
from liteq.monitor.access.keys import shown_key
from liteq.monitor.access.sight import Sight
from liteq.monitor.tasks.limits import holders, is_declared, lacks, rule_document
from liteq.storage.reading.holding import FAIR, OF_NO_LIMIT, Waits
from liteq.storage.reading.inspect import Record
from liteq.utils.text import as_command, iso_time, span, times

__all__ = ["held_back"]

OTHERS: Final = 100  # keys that take turns, counted

Why = tuple[str, str, dict[str, Any]]


def held_back(app: App, record: Record, see: Sight) -> Why | None:
    """The reason of a message that a key holds back; None where a worker's own rate does."""
    waits = app.storage.views.waits(record.id)
    if waits is None:
        return None
    if waits.key is not None and not waits.key.startswith(OF_NO_LIMIT):
        return _limit(app, record, waits, waits.key, see)
    if waits.line.startswith(FAIR):
        return _turn(app, record, waits, see)
    return None if waits.line.startswith(OF_NO_LIMIT) else _soon(app, waits)


def _soon(app: App, waits: Waits) -> Why:
    """A line that waits for nothing more."""
    facts = _facts(app, waits, None)
    return "next", f"Nothing holds it back any more: a worker takes it in a moment. {_ahead(waits)}", facts


def _ahead(waits: Waits) -> str:
    n = waits.ahead
    if not n.n:
        return "It is the next of its line."
    return f"{n.n:,}{'' if n.exact else ' or more'} of its line go before it."


def _facts(app: App, waits: Waits, shown: str | None) -> dict[str, Any]:
    since_s = max(0.0, (app.clock.now_ms() - waits.since_ms) / 1000)
    ahead = {"n": waits.ahead.n, "exact": waits.ahead.exact}
    return {"key": shown, "held_s": since_s, "ahead": ahead, **times(since=waits.since_ms)}


def _limit(app: App, record: Record, waits: Waits, key: str, see: Sight) -> Why:
    rules = app.storage.views.limits()
    shown = shown_key(app, key, see, record, is_declared=is_declared(rules, key))
    rule = rule_document(app, key, rules)
    lack, have = lacks(app, key, rule), holders(app, key, see)
    facts = {**_facts(app, waits, shown), "lacks": lack, "holders": have}
    facts |= {name: rule[name] for name in ("rate", "concurrent", "of", "next_token_s", "paused")}
    text = f"The limit {shown!r} has held it back for {span(facts['held_s'])}: {_words(lack, shown, rule, have)}"
    return "rate" if lack == "token" else "limit", f"{text} {_ahead(waits)}", facts


def _words(lack: str | None, shown: str, rule: Mapping[str, Any], have: list[dict[str, Any]]) -> str:
    match lack:
        case "pause":
            paused = rule["paused"]
            why = f" ({paused['reason']})" if paused["reason"] else ""
            resume = as_command("limits resume", shown)
            return f"it is paused until {iso_time(paused['until'])}{why}; {resume} ends that."
        case "token":
            return f"{rule['rate']} may start, and the next token comes in {span(rule['next_token_s'])}."
        case None:
            return "it has room for it now, and a worker starts it in a moment."
    most = rule["concurrent"]
    by = f", by {_named(have)}" if have else ""
    return f"{most} may run at once, and {'that place is' if most == 1 else 'these places are'} taken{by}."


def _named(have: list[dict[str, Any]]) -> str:
    first = have[0]
    since = f" since {first['since_iso']}"
    on = f" on {first['worker']}" if first["worker"] else ""
    more = f" and {len(have) - 1} more" if len(have) > 1 else ""
    return f"{first['task']} ({first['id']}){on}{since}{more}"


def _turn(app: App, record: Record, waits: Waits, see: Sight) -> Why:
    others = [line for line, _ in app.storage.views.turns(waits.queue, keys=OTHERS + 1, limit=1) if line != waits.line]
    n = len(others)
    shown = shown_key(app, waits.line.removeprefix(f"{FAIR}{waits.queue}:"), see, record)
    facts = {**_facts(app, waits, shown), "queue": waits.queue, "keys": {"n": min(n, OTHERS), "exact": n <= OTHERS}}
    many = "no other key waits" if not n else "another key waits too" if n == 1 else f"{n} other keys wait too"
    if n > OTHERS:
        many = f"{OTHERS} or more other keys wait too"
    text = f"It waits for the turn of its key {shown!r} in the queue {waits.queue!r}: {many}. {_ahead(waits)}"
    return "turn", text, facts
