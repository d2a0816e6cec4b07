"""The indexes and triggers that a file of some version has: those of the migrations, run on nothing."""

from __future__ import annotations

from functools import cache

from liteq.storage.sqlite.migrate import migrations, newest, statements
from liteq.storage.sqlite.session import Session

__all__ = ["missing"]

MADE = "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"


def missing(session: Session, version: int) -> dict[str, str]:
    """The indexes and triggers that somebody has dropped, each with the statement that makes it.

    {} where the file is not of this liteq's own version: then it is not known what it should have.
    """
    if version != newest():
        return {}
    there = {name for (name, _) in session.execute(MADE)}
    return {name: sql for name, sql in _wanted(type(session)).items() if name not in there}


@cache
def _wanted(kind: type[Session]) -> dict[str, str]:
    scratch = kind(":memory:", reader=False, busy_timeout_s=0.0)
    scratch.connect(0)
    try:
        for sql in migrations().values():
            for statement in statements(sql, scratch.complete):
                scratch.execute(statement)
        return dict(scratch.execute(MADE))
    finally:
        scratch.close()
