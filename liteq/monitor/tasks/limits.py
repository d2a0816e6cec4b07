"""Limits, as documents: what each allows, what runs under it and has its places, what it holds back and since when.

A key belongs to the whole file. A viewer of some queues sees the keys that hold something back there, or under which
something of them runs, and of these what is there alone; and those that bear the name of such a queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from liteq.context import App
from liteq.monitor.access.keys import Bearer, is_declared, is_plain, key_document
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.tasks.queues import count
from liteq.policy.rates import Bucket
from liteq.storage.limits.rules import Rule, Rules
from liteq.storage.reading.holding import FAIR, OF_NO_LIMIT, Holding, KeyRow, PlaceTaken
from liteq.storage.reading.inspect import Record
from liteq.storage.reading.overview import Bounded
from liteq.utils.text import place_of, times

__all__ = ["HOLDERS", "holders", "is_declared", "lacks", "limit", "limits", "limits_of", "rule_document"]

PAGE: Final = 50  # keys of a page
MOST: Final = 10_000  # keys that can be paged through: a search finds what another one holds
COUNTED: Final = 1_000  # messages of one key that are counted for a list; its own page counts 10,000
HOLDERS: Final = 20  # that have the places of a key, and are named
PLACES: Final = 1_000  # of a key, among which a viewer's own are looked for
NOTHING: Final = Bounded(0)


def limits(app: App, after: str | None = None, see: Sight = ALL, *, limit: int = PAGE) -> dict[str, Any]:
    """The limits, and the keys that hold something back, by key: {"items", "next", "note"}.

    `next` is the `after` of the following page: a number, as a key may hold what this viewer is not to see. Keys under
    which something runs and nothing waits are not listed, but for those that have a limit of their own. Raises
    ValueError for an `after` that is none.
    """
    place, rules = min(place_of(after), MOST), app.storage.views.limits()
    views = app.storage.views
    known = {*rules.by_key, *views.waited_for(limit=place + limit + 1), *views.paused_keys()}
    keys = sorted(key for key in known if not key.startswith(OF_NO_LIMIT))[place : place + limit + 1]
    items = [_item(app, key, rules, see, COUNTED) for key in keys[:limit]]
    seen = [one for one in items if one is not None]
    note = "" if see.payloads else "keys that are made of arguments are cut: to see them needs the right `payloads`"
    more = len(keys) > limit and place + limit <= MOST
    return {"items": seen, "next": str(place + limit) if more else None, "note": note}


def limit(app: App, key: str, see: Sight = ALL) -> dict[str, Any] | None:
    """One limit: the fields of a list, `by_queue`, `holders`; None for a key that is not there, or not to be seen."""
    rules = app.storage.views.limits()
    if not see.payloads and not (is_plain(key) or is_declared(rules, key)):
        return None
    found = _item(app, key, rules, see, None)
    if found is None:
        return None
    held, _ = app.storage.views.holding(key)
    return {
        **found,
        "by_queue": [_queue(one) for one in held if see.sees(one.queue)],
        "holders": holders(app, key, see),
    }


def holders(app: App, key: str, see: Sight = ALL, most: int = HOLDERS) -> list[dict[str, Any]]:
    """The messages that have the places of `key`, the oldest first: id, task, queue, worker, since when."""
    few = most if see.queues is None else PLACES
    seen = [one for one in app.storage.views.places(key, limit=few) if see.sees(one.queue)]
    return [_holder(one) for one in seen[:most]]


def _holder(one: PlaceTaken) -> dict[str, Any]:
    found = {"id": one.id, "task": one.task, "queue": one.queue, "worker": one.worker}
    return {**found, **times(since=one.since_ms)}


def _queue(one: Holding) -> dict[str, Any]:
    return {"queue": one.queue, "held": count(one.n), "head": one.head, **times(head_since=one.head_ms)}


# -- one key -----------------------------------------------------------------------------------------------------------


def _item(app: App, key: str, rules: Rules, see: Sight, counted: int | None) -> dict[str, Any] | None:
    """A key in a list; None for one that this viewer does not see, or of which nothing is known."""
    views = app.storage.views
    all_held, running = views.holding(key) if counted is None else views.holding(key, limit=counted)
    held = [one for one in all_held if see.sees(one.queue)]
    rule = rule_document(app, key, rules)
    if see.queues is not None:
        running = _running(app, key, running, see)
        if not (held or running.n or see.sees(_queue_named(key))):
            return None
    elif key not in rules.by_key and not (held or running.n or rule["paused"]):
        return None
    total = NOTHING
    for one in held:
        total = total.plus(one.n)
    head = min(held, key=lambda one: one.head_ms, default=None)
    sent = None if head is None else Bearer(head.head, head.head_task)
    now_ms = app.clock.now_ms()
    return {
        **key_document(app, key, see, sent, is_declared=is_declared(rules, key)),
        **rule,
        "running": count(running),
        "held": count(total),
        "head": None if head is None else head.head,
        "head_wait_s": None if head is None else max(0.0, (now_ms - head.head_ms) / 1000),
        "queues": [one.queue for one in held],
    }


def _running(app: App, key: str, running: Bounded, see: Sight) -> Bounded:
    """How many of the places of `key` are taken by what this viewer sees."""
    if not running.n:
        return running
    places = app.storage.views.places(key, limit=PLACES)
    return Bounded(sum(see.sees(one.queue) for one in places), len(places) < PLACES)


def _queue_named(key: str) -> str | None:
    kind, _, name = key.partition(":")
    return name if kind == "queue" else None


def rule_document(app: App, key: str, rules: Rules) -> dict[str, Any]:
    """The rule of a key: `rate`, `concurrent`, `tokens`, `of` (its pattern), its pause, its next token, the code's."""
    own, rule = rules.by_key.get(key), rules.of(key)
    views, now_ms = app.storage.views, app.clock.now_ms()
    state = views.key_row(key)
    of_pattern = views.key_row(rule.key) if rule is not None and rule.key != key else None  # a pause of all that fit
    bucket = _bucket(rule, state)
    return {
        "rate": None if rule is None else rule.rate,
        "concurrent": None if rule is None else rule.concurrent,
        "tokens": None if rule is None else rule.tokens,
        "of": None if rule is None or rule.key == key else rule.key,
        "next_token_s": None if bucket is None else bucket.wait_s(now_ms / 1000),
        "paused": _paused(state, of_pattern, now_ms),
        "declared": None if own is None or own.declared is None else _declared(own.declared),
    }


def _paused(state: KeyRow | None, of_pattern: KeyRow | None, now_ms: int) -> dict[str, Any] | None:
    """The pause that ends last."""
    paused = [one for one in (state, of_pattern) if one is not None and (one.paused_ms or 0) > now_ms]
    if not paused:
        return None
    last = max(paused, key=lambda one: one.paused_ms or 0)
    return {"reason": last.reason, **times(since=last.since_ms, until=last.paused_ms)}


def _bucket(rule: Rule | None, state: KeyRow | None) -> Bucket | None:
    """The bucket of a key, which counts apart from others of its pattern; None for no rate."""
    if rule is None or not rule.per_s:
        return None
    return Bucket(rule.per_s, 0 if state is None else state.full_us / 1e6)


def _declared(text: str) -> dict[str, Any] | None:
    try:
        rate, concurrent, tokens = (*orjson.loads(text), None)[:3]
    except (ValueError, TypeError):  # another program wrote it
        return None
    return {"rate": rate, "concurrent": concurrent, "tokens": tokens}


# -- one message -------------------------------------------------------------------------------------------------------


def limits_of(app: App, record: Record, see: Sight = ALL) -> list[dict[str, Any]]:
    """The limits that a message goes by, and the key that holds it: {"key", "lacks", "since", "taken", "holders", ...}.

    `lacks` is "pause", "place", "token" or "turn" of the key that it waits for, None for the others; `taken`: since
    when it has a place under this key.
    """
    rules, taken = app.storage.views.limits(), app.storage.views.places_of(record.id)
    waits = app.storage.views.waits(record.id) if record.held_by else None
    waited = None if waits is None else waits.key or (waits.line if waits.line.startswith(FAIR) else None)
    found = []
    for key in dict.fromkeys([*_keys_of(record), *taken, *([waited] if waited else [])]):
        rule = rule_document(app, key, rules)
        if rules.of(key) is None and rule["paused"] is None and key not in taken and key != waited:
            continue
        found.append(
            {
                **key_document(app, key, see, record, is_declared=is_declared(rules, key)),
                **rule,
                "lacks": lacks(app, key, rule) if key == waited else None,
                **times(since=record.due_ms if key == waited else None, taken=taken.get(key)),
                "holders": holders(app, key, see) if key == waited else [],
            }
        )
    return found


def _keys_of(record: Record) -> Sequence[str]:
    """The keys that a message bears, and those of its task and queue, which are implied."""
    own: list[Any] = []
    if record.keys:
        with suppress(ValueError):
            own = orjson.loads(record.keys)[1:]
    return [*(key for key in own if isinstance(key, str)), f"task:{record.task}", f"queue:{record.queue}"]


def lacks(app: App, key: str, rule: Mapping[str, Any]) -> str | None:
    """The thing that `key` has not for what it holds: "turn", "pause", "place" or "token"; None: it is about to start.

    `rule` is the document of what the key allows.
    """
    if key.startswith(FAIR):
        return "turn"
    if rule["paused"] is not None:
        return "pause"
    most = rule["concurrent"]
    if most is not None and app.storage.views.holding(key, limit=most)[1].n >= most:
        return "place"
    return "token" if rule["next_token_s"] else None
