"""Every page of the dashboard over a queue on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liteq import LiteQ
from liteq_dashboard import Viewer

from ... import postgresql
from .test_walk import GETS, POSTS, QUERIES, Place

pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def place(postgresql_server: str) -> Iterator[Place]:
    url = postgresql.url(postgresql_server, "walked")
    with LiteQ("walk", broker=url, set_as_current=False) as app:
        app.storage.migrate()
        yield Place(app)


@pytest.mark.parametrize("query", QUERIES)
def test_each_page_answers(place: Place, query: str) -> None:
    ann = Viewer("ann", "admin")
    found = {line: place.ask("GET", place.path(line, "mail"), ann, query)[0] for line in GETS}
    assert {line: status for line, status in found.items() if status >= 500} == {}
    if not query:
        seen = [line for line in GETS if "{" not in line and found[line] == 200]
        assert len(seen) > 20


def test_each_act_answers(place: Place) -> None:
    ann = Viewer("ann", "admin")
    found = {line: place.ask("POST", place.path(line, "mail"), ann)[0] for line in POSTS}
    assert {line: status for line, status in found.items() if status >= 500} == {}
