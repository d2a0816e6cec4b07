"""The audit as a document: what people and programs did, and why."""

from __future__ import annotations

from typing import Any

from liteq.context import App
from liteq.monitor.access.keys import shown_key
from liteq.monitor.access.sight import ALL, Sight
from liteq.storage.operating.audit import Audited
from liteq.utils.text import iso_time, place_of

__all__ = ["PAGE", "activity", "of_target"]

PAGE = 100
LOOKED_AT = 2_000  # rows of one page's search


def activity(
    app: App, after: str | None = None, see: Sight = ALL, *, limit: int = PAGE, actor: str = "", action: str = "",
    target: str = "",
) -> dict[str, Any]:  # fmt: skip
    """`{items, next, note}`: the newest first; `after` is the `next` of the page before. Raises ValueError for another.

    `actor`, `action`, `target`: only those of this name. Of a page's `limit` acts, those of 2,000 rows are found.
    """
    mark = place_of(after) or None
    kept: list[Audited] = []
    looked = 0
    while True:
        page = [_cut(app, one, see) for one in app.storage.audit.page(after=mark, limit=PAGE)]
        looked += len(page)
        for one in page:
            mark = one.id
            if _fits(one, see, actor, action, target):
                kept.append(one)
                if len(kept) == limit:
                    return {"items": [*map(_document, kept)], "next": str(mark), "note": ""}
        if len(page) < PAGE:
            return {"items": [*map(_document, kept)], "next": None, "note": ""}
        if looked >= LOOKED_AT:
            note = f"looked at {looked:,} acts, back to {iso_time(page[-1].at_ms)}"
            return {"items": [*map(_document, kept)], "next": str(mark), "note": note}


def _cut(app: App, one: Audited, see: Sight) -> Audited:
    """An act as this viewer may see it: the key of a limit is made of arguments."""
    if see.payloads or not one.action.startswith("limit "):
        return one
    return one._replace(target=shown_key(app, one.target, see))


def _fits(one: Audited, see: Sight, actor: str, action: str, target: str) -> bool:
    wanted = ((actor, one.actor), (action, one.action), (target, one.target))
    return see.sees(one.queue) and all(not asked or asked == found for asked, found in wanted)


def of_target(app: App, target: str, see: Sight = ALL, *, limit: int = 20) -> list[dict[str, Any]]:
    """The newest acts on one message, operation, queue or schedule."""
    acts = app.storage.audit.of_target(target, limit=limit)
    return [_document(_cut(app, one, see)) for one in acts if see.sees(one.queue)]


def _document(one: Audited) -> dict[str, Any]:
    return {**one._asdict(), "at": one.at_ms, "at_iso": iso_time(one.at_ms)}
