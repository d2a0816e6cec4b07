"""The acts of `liteq top`: what a capital letter does to the rows that are ticked, or to the one under the cursor."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence

from liteq.context import App
from liteq.exceptions import LiteqError, NotEligible
from liteq.monitor.access.sight import ALL
from liteq.monitor.tasks.limits import limit
from liteq.operating import Actor, act, start
from liteq.operating.limits import act_on_limit
from liteq.utils.records import NamedTuple

__all__ = ["HANDS", "Hand", "acting"]

LIMIT_PAUSE_S = 600  # a pause of a limit has an end: an answer of others is waited for, no deploy


class Hand(NamedTuple):
    """One act: its `verb` for the question, the kinds of rows that it takes, and how it is done to their keys."""

    verb: str
    kinds: tuple[str, ...]
    do: Callable[[App, str, Sequence[str], Actor], str]


def acting(reason: str) -> Actor:
    """The person at this terminal."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no such user, in a container
        name = "unknown"
    return Actor(name, "tui", reason)


def _pause(app: App, kind: str, keys: Sequence[str], by: Actor) -> str:
    if kind == "limit":
        return " ".join(_pause_limit(app, key, by) for key in keys)
    paused = app.storage.queues.paused()
    done = []
    for queue in keys:
        if (pause := paused.of(queue)) is not None:
            app.storage.queues.resume(pause.queue, actor=by.name, reason=by.reason, source=by.source)
            done.append(f"{pause.queue} goes on")
        else:
            app.storage.queues.pause(queue, actor=by.name, reason=by.reason, source=by.source)
            done.append(f"{queue} is paused")
    return "; ".join(done)


def _pause_limit(app: App, key: str, by: Actor) -> str:
    found = limit(app, key)
    if found is None:
        return f"nothing is known of {key}."
    if found["paused"]:
        return act_on_limit(app, "resume", key, by=by).message
    return act_on_limit(app, "pause", key, by=by, seconds=LIMIT_PAUSE_S).message


def _requeue(app: App, kind: str, keys: Sequence[str], by: Actor) -> str:
    if kind == "cause":
        ids = [start(app, "requeue", f"cause:{key}", by=by, see=ALL) for key in keys]
        return f"started: `liteq operations list` tells how far it is ({', '.join(ids)})"
    return _each(app, "requeue", keys, by)


def _revoke(app: App, _kind: str, keys: Sequence[str], by: Actor) -> str:
    return _each(app, "revoke", keys, by, or_else="terminate")


def _each(app: App, action: str, ids: Sequence[str], by: Actor, or_else: str = "") -> str:
    """Do `action` to each; `or_else` where its state allows that alone. What was done, and what was refused."""
    done, refused = [], []
    for one in ids:
        try:
            try:
                done.append(act(app, action, one, by=by, see=ALL).message)
            except NotEligible:
                if not or_else:
                    raise
                done.append(act(app, or_else, one, by=by, see=ALL).message)
        except LiteqError as exc:
            refused.append(str(exc))
    shown = done if len(done) <= 1 else [f"done to {len(done)}"]
    return " ".join([*shown, *refused[:3]]) or "nothing was done"


HANDS = {
    "P": Hand("Pause, or let go on,", ("queue", "limit"), _pause),
    "R": Hand("Requeue", ("task", "cause", "workflow"), _requeue),
    "X": Hand("Revoke", ("task", "workflow"), _revoke),
}
