"""The filters with which the templates show values, and the small facts that go with every page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from liteq.clock import from_ms
from liteq.monitor.tasks.search import quoted
from liteq.utils.json_text import to_json
from liteq.utils.names import segment
from liteq.utils.text import iso_time, span
from liteq_dashboard.http import Request
from liteq_dashboard.links import link
from liteq_dashboard.texts import STATES

__all__ = ["FILTERS", "LOOK_COOKIE", "Look", "live", "look_of", "span_in_words"]

LOOK_COOKIE = "liteq_look"
ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")

NONE = Markup('<span class="soft">-</span>')
SHORT_ID = 8
DEEPEST, MOST_ITEMS, LONGEST, MORE = 20, 1_000, 65_536, "…"  # of a value that is shown
UNITS = ("B", "kB", "MB", "GB", "TB")
# For the ticks of a schedule: how a run ended, as a colour and a height.
TONES = {"succeeded": "ok", "dead": "bad", "upstream_failed": "bad", "cancelled": "bad", "leased": "info"}


class Look(NamedTuple):
    """The choices of a browser: `theme` "light", "dark" or "" for the system's; `zone` by name; `live` in seconds."""

    theme: str = ""
    zone: str = ""
    live: str = "2"

    @property
    def tzinfo(self) -> tzinfo:
        """The zone; UTC where none is chosen, and for one that this machine does not know."""
        try:
            return ZoneInfo(self.zone) if self.zone else UTC
        except (ValueError, OSError, LookupError):
            return UTC

    def zones(self, of_the_app: str) -> list[str]:
        """The zones to choose from; a script adds the browser's own."""
        return list(dict.fromkeys(zone for zone in ("UTC", of_the_app, self.zone) if ZONE.fullmatch(zone)))

    @property
    def cookie(self) -> str:
        """The choices as the value of a cookie."""
        return "~".join(self)


def look_of(cookie: str) -> Look:
    """The choices that a cookie keeps; those that make no sense are the defaults."""
    theme, zone, seconds = (*cookie.split("~"), "", "", "")[:3]
    return Look(
        theme if theme in {"light", "dark"} else "",
        zone if ZONE.fullmatch(zone) else "",
        seconds if seconds in {"0", "2", "10"} else "2",
    )


def live(request: Request, part: str) -> Markup:
    """The attributes of a section that is fetched anew when something changes: the block `part` of its page."""
    asked = urlencode({**request.query, "part": [part]}, doseq=True, errors="replace")
    return Markup('data-part="{}?{}"').format(link(request.base, request.path), asked)


@pass_context
def _time(context: Context, ms: float | None) -> Markup:
    """A time of the file with its zone, the day only where it is not today; a script knows the reader's own zone."""
    if ms is None:
        return NONE
    at, now = (from_ms(int(one)).astimezone(_zone(context)) for one in (ms, context.get("now_ms", ms)))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        iso_time(int(ms)), at.strftime("%Y-%m-%d %H:%M:%S %Z"), _short(at, now)
    )


def _short(at: datetime, now: datetime) -> str:
    if at.date() == now.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%d %b %H:%M") if at.year == now.year else at.strftime("%Y-%m-%d")


def _zone(context: Context) -> tzinfo:
    found: tzinfo | None = context.get("zone")
    return found or UTC


@pass_context
def _ago(context: Context, ms: float | None) -> str | Markup:
    """How long ago, or in how long, a time of the file is."""
    if ms is None:
        return NONE
    apart = (context.get("now_ms", ms) - ms) / 1000
    words = _rough(abs(apart))
    return Markup('<span data-ago="{}">{}</span>').format(int(ms), f"{words} ago" if apart >= 0 else f"in {words}")


def _rough(seconds: float) -> str:
    """A span in one unit, which is enough beside the time itself."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def span_in_words(seconds: float) -> str:
    """A span of seconds in words; below a second in ms."""
    return f"{seconds * 1000:.0f} ms" if 0 < seconds < 1 else span(seconds)


def _span(seconds: float | None) -> str | Markup:
    return NONE if seconds is None else span_in_words(seconds)


def _number(n: Any) -> str | Markup:
    """A number with its thousands apart."""
    if n is None:
        return NONE
    if isinstance(n, Mapping):
        return f"{n['n']:,}" + ("" if n.get("exact", True) else "+")
    return f"{n:,}" if isinstance(n, int) or n == int(n) else f"{n:,.1f}"


def _bytes(n: float | None) -> str | Markup:
    """A size: 12.4 MB."""
    if n is None:
        return NONE
    for unit in UNITS:
        if n < 1000 or unit == UNITS[-1]:
            return f"{n:.0f} {unit}" if unit == "B" or n >= 100 else f"{n:.1f} {unit}"
        n /= 1000
    raise AssertionError


def _short_id(id_: object) -> str:
    """The end of an id, which tells it apart: the beginning of a UUIDv7 is its time."""
    text = str(id_)
    return text if len(text) <= SHORT_ID + 4 else f"…{text[-SHORT_ID:]}"


def _cut(text: object, most: int) -> str:
    shown = str(text)
    return shown if len(shown) <= most else f"{shown[:most]}…"


def _empty_in(queue: Mapping[str, Any]) -> str:
    """When a queue is empty at the rates of now: "4 min", "grows", or "-" where that cannot be told."""
    waiting, came, went = queue["waiting"], queue.get("in_s"), queue.get("out_s")
    n = waiting["n"] if isinstance(waiting, Mapping) else waiting or 0
    if not n or came is None or went is None or not (came or went):
        return "-"
    if went <= came:
        return "grows" if came > went else "stays"
    more = "" if not isinstance(waiting, Mapping) or waiting.get("exact", True) else "> "
    return more + _rough(n / (went - came))


def _tick_tone(state: str | None) -> str:
    return TONES.get(state or "", "wait")


def _tick_words(runs: Sequence[Mapping[str, Any]]) -> str:
    """The ticks of a schedule in words, for those that cannot see them."""
    found: dict[str, int] = {}
    for run in runs:
        words = STATES.get(run["state"], "not kept")
        found[words] = found.get(words, 0) + 1
    return f"last {len(runs)} runs: " + ", ".join(f"{n} {words}" for words, n in found.items())


def _prose(text: str) -> Markup:
    """A sentence in which what stands between backticks is a command."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if n % 2 else escape(part) for n, part in enumerate(parts))


def _json(value: Any) -> str:
    """A value as indented JSON to be read: 20 levels, 1,000 items and 64 KiB of it."""
    text = to_json(_bounded(value, DEEPEST, iter(range(MOST_ITEMS))), indent=True).decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _bounded(value: Any, deeper: int, left: Iterator[int]) -> Any:
    """`value` without what is too deep or too much; `left` ends with the items that may still come."""
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if not deeper:
        return MORE
    if isinstance(value, Mapping):
        found = {str(key): _bounded(one, deeper - 1, left) for (key, one), _ in zip(value.items(), left, strict=False)}
        return found if len(found) == len(value) else {**found, MORE: f"{len(value) - len(found):,} more"}
    items = [_bounded(one, deeper - 1, left) for one, _ in zip(value, left, strict=False)]
    return items if len(items) == len(value) else [*items, f"{MORE} {len(value) - len(items):,} more"]


def _iso(ms: float) -> str:
    return iso_time(int(ms)) or ""


FILTERS = {
    "time": _time,
    "ago": _ago,
    "span": _span,
    "number": _number,
    "bytes": _bytes,
    "short": _short_id,
    "cut": _cut,
    "iso": _iso,
    "json": _json,
    "prose": _prose,
    "quoted": quoted,
    "segment": segment,
    "shell": shlex.join,
    "empty_in": _empty_in,
    "tick_tone": _tick_tone,
    "tick_words": _tick_words,
}
