"""The parts of the PostgreSQL engine that need no server: its URLs, and the words of its SQL."""

from __future__ import annotations

import pytest

from liteq.exceptions import ImproperlyConfigured, StorageError
from liteq.storage.driver import GLOB, LOCK, SKIP_LOCKED
from liteq_postgres.translate import statement, values
from liteq_postgres.url import parse

# -- URLs ------------------------------------------------------------------------------------------------------------


def test_a_url_is_libpqs_with_a_schema_of_ours() -> None:
    location = parse("postgresql://ann:secret@db.example:5433/shop?sslmode=require&schema=jobs")
    assert location.conninfo == "postgresql://ann:secret@db.example:5433/shop?sslmode=require"
    assert (location.schema, location.where()) == ("jobs", "db.example:5433/shop?schema=jobs")


def test_several_hosts_and_a_socket_are_taken() -> None:
    several = parse("postgres://ann@a,b:6000/shop?target_session_attrs=read-write")
    assert several.conninfo == "postgresql://ann@a,b:6000/shop?target_session_attrs=read-write"
    assert parse("postgresql://ann@/shop?host=/run/pg").where() == "/run/pg/shop?schema=liteq"


def test_the_bells_may_have_an_address_of_their_own() -> None:
    assert parse("postgresql://h/d?listen=db.example:5432").listen == ("db.example", "5432")
    assert parse("postgresql://h/d?listen=[::1]:5432").listen == ("::1", "5432")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://h", "names no database"),
        ("mysql://h/d", "none of PostgreSQL's"),
        ("postgresql://h/d?shema=x", "did you mean schema="),
        ("postgresql://h/d?mode=r", "one of rw, ro"),
        ("postgresql://h/d?listen=h", "host:port"),
        ("postgresql://h/d?schema=", "a name of 1 to 63 bytes"),
        ("postgresql://h/d?schema=pg_x", "does not begin with pg_"),
        ("postgresql://u:a#b@h/d", "write # as %23"),
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        parse(url)
    with pytest.raises(ImproperlyConfigured) as refused:
        parse(url.replace("//h", "//u:secret@h"))
    assert "secret" not in str(refused.value)


# -- the words of its SQL --------------------------------------------------------------------------------------------


def test_placeholders_are_numbers_and_a_name_has_one_number() -> None:
    assert statement("SELECT ? + ?")[::2] == (b"SELECT $1 + $2", None)
    assert statement("SELECT :a + :b + :a")[::2] == (b"SELECT $1 + $2 + $1", ("a", "b"))


def test_hints_become_locks_and_nothing_where_only_reads_are_allowed() -> None:
    told = statement(f"SELECT 1 FROM a WHERE x {GLOB} :y {LOCK}")
    assert told.sql == b"SELECT 1 FROM a WHERE x ~*~ $1 FOR UPDATE"
    assert told.look.rstrip() == b"SELECT 1 FROM a WHERE x ~*~ $1"
    assert statement(f"SELECT 1 FROM a {SKIP_LOCKED}").sql == b"SELECT 1 FROM a FOR UPDATE SKIP LOCKED"


def test_texts_names_casts_and_comments_are_left_alone() -> None:
    sql = "SELECT ':a ? GLOB', \"b?:c\", x::text /* ? :d */ -- :e ?\n FROM t"
    assert statement(sql)[::2] == (sql.encode(), None)


def test_a_statement_has_one_kind_of_parameters() -> None:
    with pytest.raises(StorageError, match=r"either \? or :name"):
        statement("SELECT ?, :a")


def test_a_parameter_that_is_missing_is_named() -> None:
    assert values(("b", "a"), {"a": 1, "b": 2, "c": 3}) == [2, 1]
    with pytest.raises(StorageError, match=":b was not given"):
        values(("a", "b"), {"a": 1})
