"""The store of a test in which several meet: they all need its URL, and another test has another store."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

__all__ = ["MANY_WRITERS", "url_in"]

GIVEN = os.environ.get("LITEQ_TEST_URL")
MANY_WRITERS = GIVEN is not None and not GIVEN.startswith("sqlite")
"""Whether verbs meet halfway: SQLite has one writer at a time."""


def url_in(folder: Path) -> str:
    """A store with nothing in it: a file in `folder`, or on the engine of `LITEQ_TEST_URL`.

    "{name}" in that is a name for each store, such as a schema's: `postgresql:///db?schema={name}`.
    """
    if GIVEN is None:
        return f"sqlite:///{folder}/queue.db?driver=apsw"
    return GIVEN.replace("{name}", f"t{uuid4().hex[:12]}")
