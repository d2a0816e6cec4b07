"""The admin's pages for an adversary's values: a page, a bad request, not found, or a form that says so.

Django's test client raises what a view raises, so an error of a page is the test's own.
"""

from __future__ import annotations

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse
from shop.orders.tasks import pay

from .admin_pages import BASE

LISTS = ["taskmessage", "deadletter", "schedule", "worker"]
ACTIONS = ["revoke", "replay", "drop", "pause", "resume", "run_now", "remove"]
VALUES = [10**22, -(10**22), "9" * 5000, "1e300", "NaN", "\x00", "", "x" * 10_000, "'; --", "\u0663"]
NESTED = ["[" * 3_000 + "]" * 3_000, '{"a":' * 3_000 + "1" + "}" * 3_000, "[" * 3_000, "[" * 500 + "]" * 500]
NO_NUMBERS = ["[" + "1" * 5000 + "]"]
NO_TEXTS = ['["\\ud800"]', '{"\\ud800": 1}']
NEVER = ["1e300", "1e18", "1e-300", "inf", "nan", "-1", "9" * 5000]
NO_CRONTABS = ["1" * 5000 + " * * * *", "*/0 * * * *", "0-99999999999 * * * *"]


@pytest.mark.parametrize("listed", LISTS)
def test_a_query_that_is_out_of_range_is_no_error(shop, admin, listed):
    pay.delay(1)
    for name in ("after", "seq", "id", "task", "queue", "state", "p", "_all"):
        for value in VALUES:
            query = {"after": 1, "seq": 1, name: value} if name in {"after", "seq"} else {name: value}
            assert admin.get(f"{BASE}{listed}/", query).status_code in {200, 400}, (name, value)


@pytest.mark.parametrize("after", [10**22, -(2**63) - 1, "9" * 5000, "x", ""])
def test_a_mark_that_no_page_has_is_a_bad_request(shop, admin, after):
    for listed in ("taskmessage", "deadletter"):
        assert admin.get(f"{BASE}{listed}/", {"after": after, "seq": 1}).status_code == 400
        assert admin.get(f"{BASE}{listed}/", {"after": 1, "seq": after}).status_code == 400


@pytest.mark.parametrize("id_", ["x" * 10_000, "\x00", "../..", "%", "_0A", "\ud7ff"], ids=range(6))
@pytest.mark.parametrize("listed", LISTS)
def test_an_id_that_nothing_has_is_not_found_and_changes_nothing(shop, admin, listed, id_):
    url = reverse(f"admin:liteq_django_{listed}_change", args=[quote(id_)])
    assert admin.get(url).status_code == 404
    for action in ACTIONS:
        assert admin.post(f"{BASE}{listed}/", {"action": action, "_selected": [id_]}, follow=True).status_code == 200
        assert admin.post(url, {"action": action}, follow=True).status_code in {200, 404}


def forms():
    for text in [*NEVER, *NO_CRONTABS]:
        yield {"schedule": text}
    for text in [*NESTED, *NO_NUMBERS, *NO_TEXTS]:
        yield {"args": text}
        yield {"kwargs": text if text[0] == "{" else f'{{"a": {text}}}'}
    yield from ({"name": "x" * 10_000}, {"name": "\x00"}, {"task": "\x00"}, {"task": ""}, {"queue": "\x00"})


@pytest.mark.parametrize("changes", list(forms()), ids=lambda changes: f"{changes!a:.40}")
def test_a_schedule_that_cannot_be_is_told_at_the_form(shop, admin, changes):
    form = {"name": "n", "task": "shop.orders.tasks.pay", "schedule": "60", "args": "[1]"}
    answer = admin.post(f"{BASE}schedule/add/", {**form, **changes})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert shop.storage.schedules.all() == []


@pytest.mark.parametrize("number", ["NaN", "1e999", str(2**70)])
def test_a_schedule_with_a_number_that_json_lacks_is_shown_and_saved_again(shop, admin, number):
    form = {"name": "n", "task": "shop.orders.tasks.pay", "schedule": "60", "args": f"[{number}]"}
    for path in ("add/", "n/change/"):
        assert admin.post(f"{BASE}schedule/{path}", form).status_code == 302
    for path in ("", "n/change/"):
        assert admin.get(f"{BASE}schedule/{path}").status_code == 200


def test_a_number_of_any_size_is_shown(shop, admin):
    sent = pay.delay(2**70)
    assert str(2**70) in admin.get(f"{BASE}taskmessage/{sent.id}/change/").content.decode()
