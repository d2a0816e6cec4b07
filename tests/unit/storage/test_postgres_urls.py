"""Broker URLs of the PostgreSQL engine that are refused, and the passwords in them; no server is needed."""

from __future__ import annotations

import sys
import traceback

import pytest

from liteq.exceptions import ImproperlyConfigured
from liteq.storage.driver import Options
from liteq_postgres import ENGINE
from liteq_postgres.url import parse


@pytest.mark.parametrize(
    "password",
    [
        "se/cret", "se%zzcret", "se cret", "se@cret", "%00secret", "se[cret", "[secret]", "se#cret",
        "se\N{ACCOUNT OF}cret",
    ],
)  # fmt: skip
def test_a_password_that_is_not_escaped_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        parse(f"postgresql://ann:{password}@h/d")
    assert "cret" not in "".join(traceback.format_exception(refused.value))


def test_a_password_comes_to_the_server_as_it_is() -> None:
    psycopg = pytest.importorskip("psycopg")
    location = parse("postgresql://ann:s%40%2F%25%20%3A%23@db/shop?sslmode=require")
    given = psycopg.conninfo.conninfo_to_dict(location.conninfo)
    assert (given["password"], given["host"], given["sslmode"]) == ("s@/% :#", "db", "require")


def test_a_plus_sign_is_one_in_an_option_too() -> None:
    psycopg = pytest.importorskip("psycopg")
    given = psycopg.conninfo.conninfo_to_dict(parse("postgresql://h/d?user=ann&password=a+b%20c").conninfo)
    assert given["password"] == "a+b c"


def test_an_option_that_nobody_knows_is_refused_before_anything_is_opened() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ImproperlyConfigured, match='"horse"'):
        ENGINE.open("postgresql://h/d?horse=1", Options())


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImproperlyConfigured, match="install liteq with the extra `postgres`") as refused:
        ENGINE.open("postgresql://ann:secret@h/d", Options())
    assert "secret" not in str(refused.value)
