"""docs/howto/postgresql.md: its SQL is run, in its order, by the roles that the page names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.exceptions import ReadOnly, StorageError
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.storage.driver import Options
from liteq.storage.storage import Storage

from .book import blocks

psycopg = pytest.importorskip("psycopg")

from liteq_postgres import ENGINE  # noqa: E402 - without psycopg there is none

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "howto" / "postgresql.md"
GONE = "DROP DATABASE IF EXISTS shop WITH (FORCE); DROP ROLE IF EXISTS liteq_owner, liteq_app"
BEGINNINGS = ["CREATE ROLE", "GRANT USAGE ON SCHEMA", "GRANT pg_read_all_stats", "VACUUM"]


def sql() -> list[str]:
    return [block.text for block in blocks(PAGE) if block.language == "sql"]


@pytest.fixture
def server(postgresql_server: str) -> Iterator[Any]:
    """A connection of the administrator; the database and the roles of the page are gone before and after."""
    with psycopg.connect(host=postgresql_server, user="postgres", autocommit=True) as connection:
        run(connection, GONE)
        yield connection
        run(connection, GONE)


def run(connection: Any, text: str) -> None:
    for statement in filter(str.strip, text.split(";")):
        connection.execute(statement)


def test_the_page_has_the_statements_that_are_tried_here() -> None:
    assert [text[: len(beginning)] for text, beginning in zip(sql(), BEGINNINGS, strict=True)] == BEGINNINGS


def test_the_roles_of_the_page_migrate_send_work_and_look(server: Any, postgresql_server: str) -> None:
    def storage(role: str, more: str = "") -> Storage:
        return Storage(ENGINE.open(f"postgresql://{role}@/shop?host={postgresql_server}{more}", Options()))

    make, grant, see, care = sql()
    run(server, make)
    theirs = storage("liteq_app")
    with pytest.raises(StorageError, match="let the database's owner run `liteq migrate`"):
        theirs.migrate()
    owners = storage("liteq_owner")
    owners.migrate()
    owners.close()
    with psycopg.connect(host=postgresql_server, user="liteq_owner", dbname="shop", autocommit=True) as owner:
        run(owner, grant)
        run(owner, care)
    run(server, see)
    theirs.migrate()
    (id_,) = theirs.enqueue(Batch([Message(id=new_id(), task="t", payload=b"[[],{}]")]))
    number = theirs.register_worker(WorkerIdentity(new_id(), "a", "h", "b", 1, "1"))
    (lease,) = theirs.claim(["celery"], worker=number, limit=1, visibility_s=60)
    assert theirs.settle([(lease, Ack(b"1"))]) == []
    looking = storage("liteq_app", "&mode=ro")
    assert looking.reader.find(id_).state == "succeeded"  # type: ignore[union-attr]
    with pytest.raises(ReadOnly):
        looking.enqueue(Batch([Message(id=new_id(), task="t", payload=b"[[],{}]")]))
    theirs.close()
    looking.close()


def test_the_urls_of_the_page_are_urls_of_the_engine() -> None:
    urls = re.findall(r"postgresql://\S+", PAGE.read_text(encoding="utf-8"))
    places = [ENGINE.describe_url(url) for url in urls]
    assert len(places) == 5
    assert all(place.where.endswith("shop?schema=liteq") for place in places)
