"""The finds of a search, as lines of JSON or as CSV: read page by page while it is sent."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from liteq.monitor.tasks.tasks import tasks
from liteq.utils.json_text import to_json
from liteq_dashboard.http import Reader, Response

__all__ = ["FORMATS", "exported"]

FORMATS = ("ndjson", "csv")
PAGE = 1_000
TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
COLUMNS = (
    "id", "task", "queue", "state", "priority", "created_iso", "due_iso", "started_iso", "finished_iso", "worker",
    "retries", "crashes", "root_id", "parent_id", "cause", "error_type", "error_message",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would work out a cell that begins so


def exported(reader: Reader, q: str, form: str) -> Response:
    """The tasks that `q` finds, as an attachment in `form`, one of FORMATS. Raises BadSearch before the first line."""
    pages = _pages(reader, q)
    first = next(pages)  # a search that cannot be read is refused, not cut off
    lines = _ndjson if form == "ndjson" else _csv
    headers = {"content-type": TYPES[form], "content-disposition": f'attachment; filename="tasks.{form}"'}
    return Response(200, headers, lines(first, pages))


def _pages(reader: Reader, q: str) -> Iterator[list[dict[str, Any]]]:
    after = None
    while True:
        found = tasks(reader.app, q, after, PAGE, reader.sight)
        yield found["items"]
        after = found["next"]
        if after is None:
            return


def _ndjson(first: list[dict[str, Any]], rest: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    yield _json_lines(first)
    yield from map(_json_lines, rest)


def _json_lines(items: list[dict[str, Any]]) -> bytes:
    return b"".join(to_json(one) + b"\n" for one in items)


def _csv(first: list[dict[str, Any]], rest: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    yield _rows([COLUMNS])
    yield _rows(map(_cells, first))
    for items in rest:
        yield _rows(map(_cells, items))


def _rows(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cells(one: dict[str, Any]) -> list[str]:
    error = one["error"] or {}
    values = {**one, "error_type": error.get("type"), "error_message": error.get("message")}
    return [_defused(values[name]) for name in COLUMNS]


def _defused(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
