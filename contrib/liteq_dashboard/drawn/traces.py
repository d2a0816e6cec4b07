"""Tracebacks and attempts as a person reads them: the app's own frames first, and time as lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liteq_dashboard.looks import span_in_words as span
from liteq_dashboard.texts import TEXTS

__all__ = ["own_frames", "timeline"]

FRAME = re.compile(r'^\s*File "(?P<path>.*)", line (?P<line>\d+), in (?P<name>.*)$')
LIBRARIES = re.compile(r"site-packages|dist-packages|/lib/python3|^<frozen|/liteq/(?:worker|execution|app)/")
PARTS = 2  # of a path that are shown
MOST_FRAMES = 12
WIDTH, LEAST = 1000.0, 8.0


def own_frames(traceback: str) -> list[dict[str, str]]:
    """The frames of the app's own code: `place` ("app/pay.py:88 charge") and `code`; [] where there are none."""
    found = []
    lines = traceback.splitlines()
    for n, line in enumerate(lines):
        frame = FRAME.match(line)
        if frame is None or LIBRARIES.search(frame["path"]):
            continue
        place = "/".join(frame["path"].replace("\\", "/").split("/")[-PARTS:])
        code = lines[n + 1].strip() if n + 1 < len(lines) and not FRAME.match(lines[n + 1]) else ""
        found.append({"place": f"{place}:{frame['line']} {frame['name']}", "code": code})
    return found[-MOST_FRAMES:]


def timeline(it: Mapping[str, Any], now_ms: int) -> tuple[list[dict[str, Any]], str]:
    """A task's attempts as bars and as a sentence: waiting is thin, an attempt solid, the pause before a retry thin.

    Lengths grow with the logarithm: half a second and an hour are both to be seen.
    """
    pieces = _pieces(it, now_ms)
    weights = [0.35 + math.log1p(max(seconds, 0) * 4) for _, seconds, _ in pieces]
    room = WIDTH - LEAST * len(pieces)
    found, x = [], 0.0
    for (tone, _, text), weight in zip(pieces, weights, strict=True):
        width = LEAST + room * weight / sum(weights)
        thin = tone == "wait"
        found.append({"tone": tone, "x": f"{x:.1f}", "y": 19 if thin else 8, "height": 6 if thin else 28,
                      "width": f"{max(width - 2, 1):.1f}", "text": text})  # fmt: skip
        x += width
    return found, "; ".join(text for _, _, text in pieces)


def _pieces(it: Mapping[str, Any], now_ms: int) -> list[tuple[str, float, str]]:
    attempts: Sequence[Mapping[str, Any]] = it.get("attempts") or ()
    if not attempts and it.get("started"):
        running = it["state"] == "leased"
        outcome = "running" if running else "succeeded" if it["state"] == "succeeded" else "failed"
        attempts = [{"n": it["retries"] + 1, "started": it["started"], "ended": it.get("finished"), "outcome": outcome}]
    found: list[tuple[str, float, str]] = []
    before = it.get("created")
    for one in attempts:
        began, ended = one.get("started") or one.get("ended"), one.get("ended") or now_ms
        if began is None:
            continue
        if before is not None and began > before:
            found.append(("wait", (began - before) / 1000, _words("waited_text", span((began - before) / 1000))))
        tone = str(one.get("outcome") or "running")
        text = _words("attempt_text", one["n"], tone, span((ended - began) / 1000))
        found.append((tone if tone in {"succeeded", "running", "retried"} else "failed", (ended - began) / 1000, text))
        before = ended
    return found


def _words(key: str, *values: object) -> str:
    return str(TEXTS[key]).format(*values)
