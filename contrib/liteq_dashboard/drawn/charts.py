"""Charts as the server draws them: a line over time, its marks, and the same numbers as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liteq.monitor.series import series
from liteq_dashboard.http import Reader, Request
from liteq_dashboard.links import link
from liteq_dashboard.looks import span_in_words
from liteq_dashboard.texts import TEXTS

__all__ = ["RANGES", "chart", "charts_of", "range_of"]

WIDTH, HEIGHT, ROOM = 600, 84, 4
RANGES = {"1h": 3_600, "6h": 21_600, "1d": 86_400, "7d": 604_800, "30d": 2_592_000}
ROWS = 12  # of the table below a chart: the newest


def range_of(text: str) -> str:
    """The range that a query asks for; an hour for any other text."""
    return text if text in RANGES else "1h"


def charts_of(request: Request, reader: Reader, metrics: Iterable[str], range_: str, **of: str) -> list[dict[str, Any]]:
    """The charts of `metrics` over a range, of all or of a `queue` or a `task`."""
    now_ms = reader.app.clock.now_ms()
    found = []
    for metric in metrics:
        line = series(reader.app, metric, RANGES[range_], **of, see=reader.sight)
        href = link(request.base, "api/v1/series", metric=metric, range=range_, **of)
        found.append(chart(line, range_, href, now_ms=now_ms, tone="bad" if metric == "failed_s" else ""))
    return found


def chart(found: Mapping[str, Any], range_: str, href: str, *, now_ms: int, tone: str = "") -> dict[str, Any]:
    """The facts that the macro `chart` draws of a series: {metric, points: [[ms, value]], marks: [[ms, label]]}."""
    metric = str(found["metric"])
    points = [(ms, value) for ms, value in found["points"] if value is not None]
    begin = now_ms - RANGES[range_] * 1000
    top = max((value for _, value in points), default=0) or 1
    spots = [(_x(ms, begin, now_ms), HEIGHT - ROOM - value / top * (HEIGHT - 2 * ROOM)) for ms, value in points]
    title = TEXTS.get(metric, metric.replace("_", " "))
    last = _text(metric, points[-1][1]) if points else "-"
    return {
        "title": title,
        "unit": "",
        "tone": tone,
        "href": href,
        "last": last,
        "points": points,
        "line": _path(spots),
        "area": f"{_path(spots)}L{spots[-1][0]:.1f},{HEIGHT}L{spots[0][0]:.1f},{HEIGHT}Z" if spots else "",
        "marks": [(f"{_x(ms, begin, now_ms):.1f}", label) for ms, label in map(_mark, found.get("marks") or ())],
        "spoken": f"{title}: now {last}, at most {_text(metric, top)}" if points else f"{title}: nothing yet",
        "rows": [(ms, _text(metric, value)) for ms, value in reversed(points[-ROWS:])],
    }


def _x(ms: float, begin: int, end: int) -> float:
    return min(max((ms - begin) / max(end - begin, 1), 0), 1) * WIDTH


def _path(spots: Sequence[tuple[float, float]]) -> str:
    drawn = "".join(f"{'L' if n else 'M'}{x:.1f},{y:.1f}" for n, (x, y) in enumerate(spots))
    return f"{drawn}h.1" if len(spots) == 1 else drawn  # a point is to be seen too


def _mark(mark: Any) -> tuple[int, str]:
    if isinstance(mark, Mapping):
        return mark["at"], mark["label"]
    return mark[0], mark[1]


def _text(metric: str, value: float) -> str:
    if metric.endswith("bytes") or metric in {"size", "wal"}:
        return f"{value / 1e6:,.1f} MB"
    if metric.endswith("_p95_s") or metric.startswith("head_wait"):
        return span_in_words(value)
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"
