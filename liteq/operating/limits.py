"""Acts on the limit of a key: set, delete, pause, resume; each noted in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import join
from typing import Any, Final

from liteq.context import App
from liteq.monitor.access.sight import ALL, Sight
from liteq.operating.acts import Done
from liteq.storage.limits.rules import queue_of
from liteq.storage.operating.audit import Actor
from liteq.utils.durations import limit_s
from liteq.utils.misspelt import meant

__all__ = ["LIMIT_ACTIONS", "act_on_limit", "limit_words", "may_change"]

TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "set": ("rate", "concurrent", "tokens"), "pause": ("seconds",), "resume": (), "delete": (),
}  # fmt: skip
LIMIT_ACTIONS: Final = tuple(TAKES)
LONGEST_S: Final = 366 * 86_400  # of a pause


def may_change(key: str, see: Sight) -> bool:
    """Whether a viewer may change the limit of `key`: it holds in every queue, but for that of a queue by its name."""
    queue = queue_of(key)
    return see.queues is None or (queue is not None and see.sees(queue))


def act_on_limit(app: App, action: str, key: str, *, by: Actor, see: Sight = ALL, **arguments: Any) -> Done:
    """Do `action` (one of LIMIT_ACTIONS) to the limit of `key`, with a note in the audit, and say what was done.

    Arguments: `rate` ("100/m"), `concurrent` and `tokens` ("200k/m") of set, what is left out or "" is no limit;
    `seconds` of pause: a number, or text with a unit ("10m"). Raises ValueError for a wrong action, key or argument,
    and for a key that `see` does not reach.
    """
    _check(action, arguments)
    if not may_change(key, see):
        raise ValueError("a limit holds in every queue: only a viewer of all queues may change it")
    given = checked(action, arguments)
    limits = app.storage.limits
    match action:
        case "set":
            limits.set(key, given["rate"], given["concurrent"], given["tokens"], by=by)
            said = f"{key}: {_allowed(given)}."
        case "pause":
            limits.pause(key, given["seconds"], by.reason, by=by)
            said = f"{key} is paused for {given['seconds']:g} s: what runs goes on, nothing more of it starts."
        case "resume":
            said = f"{key} goes on." if limits.resume(key, by=by) else f"{key} was not paused."
        case _:
            gone = limits.delete(key, by=by)
            said = f"{key} has no limit of its own any more." if gone else f"{key} had no limit of its own."
    return Done(key, said, join(["liteq", *limit_words(action, key, given, by.reason)]))


def _check(action: str, arguments: Mapping[str, Any]) -> None:
    if action not in TAKES:
        hint = meant(action, LIMIT_ACTIONS, f"use one of {', '.join(LIMIT_ACTIONS)}")
        raise ValueError(f"unknown action {action!r}{hint}")
    if unknown := arguments.keys() - set(TAKES[action]):
        takes = ", ".join(TAKES[action]) or "nothing"
        raise ValueError(f"{action} does not take {', '.join(sorted(unknown))}: it takes {takes}")


def checked(action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an action as the storage takes them. Raises ValueError."""
    if action == "set":
        rate, tokens = (str(arguments.get(name) or "").strip() or None for name in ("rate", "tokens"))
        return {"rate": rate, "concurrent": _number(arguments.get("concurrent")), "tokens": tokens}
    if action == "pause":
        given = arguments.get("seconds")
        try:
            given = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            given = given or ""
        try:
            wait_s = limit_s(given, "the time of a pause")
        except TypeError as exc:
            raise ValueError(str(exc)) from None
        if wait_s > LONGEST_S:
            raise ValueError(f"a pause is {LONGEST_S:,} seconds at most, not {wait_s:,.0f}")
        return {"seconds": wait_s}
    return {}


def _number(value: Any) -> int | None:
    if value is None or value == "":
        return None
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
        raise ValueError(f"how many run at once is a whole number from 1, or nothing for no limit; not {value!r:.40}")
    return int(text)


def _allowed(given: Mapping[str, Any]) -> str:
    rate, most = given["rate"], given["concurrent"]
    parts = [*([f"{rate} start"] if rate else []), *([f"{most} run at once"] if most is not None else [])]
    parts += [f"{given['tokens']} tokens"] if given["tokens"] else []
    return ", ".join(parts) or "no limit"


def limit_words(action: str, key: str, given: Mapping[str, Any], reason: str = "") -> list[str]:
    """The same act as the words of a command behind `liteq`."""
    words = ["limits", action, key]
    if action == "pause":
        words += [f"{given['seconds']:g}"] if "seconds" in given else []
        return [*words, "--reason", reason] if reason else words
    for name in TAKES[action]:
        if given.get(name) is not None:
            words += [f"--{name}", str(given[name])]
    return words
