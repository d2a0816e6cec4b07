"""The system checks: each says what is wrong, and what to put."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from liteq_django.checks import check


def ids(**changes):
    with override_settings(**changes):
        return {message.id for message in check()}


def options(**changes):
    """DATABASES with other OPTIONS; None leaves one out."""
    found = {**settings.DATABASES["default"]["OPTIONS"], **changes}
    found = {name: value for name, value in found.items() if value is not None}
    return {"default": {**settings.DATABASES["default"], "OPTIONS": found}}


def test_a_good_project_has_nothing_but_the_place_of_its_test_file(shop):
    assert ids() == {"liteq.W008"}


@pytest.mark.parametrize(
    ("liteq", "expected"),
    [
        ({}, "liteq.E001"),
        ({"BROKER_URL": "redis://localhost"}, "liteq.E001"),
        ({"BROKER_URL": f"sqlite+apsw:///{settings.DATABASES['default']['NAME']}"}, "liteq.E002"),
        ({"BROKER_URL": "sqlite:///queue.db"}, "liteq.W007"),
        ({"BROKER_URL": "sqlite:////tmp/queue.db"}, "liteq.W008"),
        ({"BROKER_URL": "sqlite:////srv/q.db", "OUTBOX": "nowhere"}, "liteq.E012"),
    ],
)
def test_what_liteqs_settings_get_wrong(shop, liteq, expected):
    assert expected in ids(LITEQ=liteq)


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"transaction_mode": None}, "liteq.W003"),
        ({"init_command": None}, "liteq.W004"),
        ({"init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous=NORMAL;"}, None),  # durability is relaxed here
        ({"init_command": "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=1000"}, "liteq.E006"),
    ],
)
def test_what_the_databases_options_get_wrong(shop, changes, expected):
    assert ids(DATABASES=options(**changes)) - {"liteq.W008"} == ({expected} if expected else set())


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_a_commit_that_does_not_wait_is_told_where_durability_promises_it(shop):
    careless = options(init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL")
    assert "liteq.W005" in ids(DATABASES=careless, LITEQ={"DATABASE": "default", "DURABILITY": "durable"})


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_requests_in_transactions_without_an_outbox(shop):
    atomic = {"default": {**settings.DATABASES["default"], "ATOMIC_REQUESTS": True}}
    own = {"BROKER_URL": "sqlite:////srv/q.db", "OUTBOX": False}
    assert "liteq.W013" in ids(DATABASES=atomic, LITEQ=own)
    assert "liteq.W013" not in ids(DATABASES=atomic, LITEQ={"BROKER_URL": "sqlite:////srv/q.db"})


@pytest.mark.parametrize(
    ("liteq", "problem"),
    [
        ({"DATABASE": "nowhere"}, "DATABASES does not have"),
        ({"DATABASE": "default", "BROKER_URL": "sqlite:////srv/q.db"}, "leave one out"),
        (["DATABASE"], "a dict of settings"),
    ],
)
def test_settings_that_make_no_sense_are_refused(shop, liteq, problem):
    with pytest.raises(ImproperlyConfigured, match=problem), override_settings(LITEQ=liteq):
        pass


def test_the_hint_is_what_to_put(shop):
    with override_settings(LITEQ={}):
        (error,) = check()
    assert "LITEQ = {'DATABASE': 'default'}" in error.hint
