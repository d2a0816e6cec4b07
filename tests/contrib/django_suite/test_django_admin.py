"""The admin's pages: who may do what, what they show, and that nothing in the queue is taken for HTML."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from html import unescape
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client
from shop.orders.models import Order
from shop.orders.tasks import charge, pay

from liteq.schedules import crontab
from liteq.serialization import decode
from liteq.states import State
from liteq_django import drain

from .admin_pages import BASE, page, staff


def die(n=1):
    sent = [charge.delay(i, "4111 1111") for i in range(n)]
    assert drain() == n
    return [one.id for one in sent]


def test_tasks_are_listed_searched_and_shown(shop, admin):
    (dead,) = die()
    waiting, other = pay.delay(1), pay.apply_async((2,), queue="mail")
    html = page(admin, "taskmessage/")
    assert all(id_ in html for id_ in (waiting.id, other.id, dead))
    assert other.id not in page(admin, "taskmessage/", state="dead")
    assert dead in page(admin, "taskmessage/", task="charge")
    assert waiting.id not in page(admin, "taskmessage/", queue="mail")
    assert other.id not in page(admin, "taskmessage/", id=waiting.id)
    assert "There is no task nonsense" in page(admin, "taskmessage/", id="nonsense")
    assert "shop.orders.tasks.pay" in page(admin, f"taskmessage/{waiting.id}/change/")
    assert admin.get(f"{BASE}taskmessage/nonsense/change/").status_code == 404


def test_arguments_of_a_task_that_is_not_known_are_hidden(shop, admin):
    sent = shop.send_task("elsewhere", (), {"card": "4111 1111"})
    html = page(admin, f"taskmessage/{sent.id}/change/")
    assert "4111 1111" not in html
    assert "this process does not know the task" in html


def test_an_error_that_quotes_a_sensitive_argument_is_shown_without_it(shop, admin):
    @shop.task(name="quotes", sensitive=("card",))
    def quotes(card):
        raise ValueError(f"no such card: {card}")

    dead = quotes.delay("4111 1111").id
    drain()
    pages = [page(admin, path) for path in ("deadletter/", "taskmessage/", f"taskmessage/{dead}/change/")]
    assert all("no such card: ***" in html for html in pages)
    assert all("4111 1111" not in html for html in pages)


def test_text_is_never_html_and_sensitive_arguments_are_not_shown(shop, admin):
    (dead,) = die()
    html = page(admin, f"deadletter/{dead}/change/")
    assert "&lt;b&gt;declined&lt;/b&gt;" in html
    assert "<b>declined" not in html + page(admin, "deadletter/")
    assert "4111 1111" not in html
    assert "***" in html


def test_a_waiting_task_is_revoked_and_one_that_has_ended_is_not_counted(shop, admin):
    (ended,), sent = die(1), pay.delay(1)
    response = admin.post(f"{BASE}taskmessage/", {"action": "revoke", "_selected": [sent.id, ended]}, follow=True)
    assert "1 revoked" in response.content.decode()
    assert [sent.state, shop.AsyncResult(ended).state] == ["REVOKED", "FAILURE"]


def test_dead_letters_are_replayed_and_dropped(shop, admin):
    first, second, third = die(3)
    admin.post(f"{BASE}deadletter/", {"action": "replay", "_selected": [first]})
    admin.post(f"{BASE}deadletter/{second}/change/", {"action": "drop"})
    assert shop.storage.reader.find(first).state is State.PENDING
    assert shop.storage.reader.find(second) is None
    assert shop.storage.reader.find(third).state is State.DEAD
    from django.contrib.admin.models import LogEntry

    assert sorted(LogEntry.objects.values_list("object_id", flat=True)) == sorted([first, second])


def test_all_that_match_a_filter_are_replayed_beyond_the_page(shop, admin):
    die(3)
    from liteq_django.admin import DeadLetterAdmin

    before, DeadLetterAdmin.per_page = DeadLetterAdmin.per_page, 2
    try:
        assert "Next page" in page(admin, "deadletter/")
        response = admin.post(f"{BASE}deadletter/?task=charge", {"action": "replay", "_all": "1"}, follow=True)
        assert "3 put back" in response.content.decode()
        assert admin.post(f"{BASE}deadletter/?task=nothing", {"action": "drop", "_all": "1"}).status_code == 302
    finally:
        DeadLetterAdmin.per_page = before
    assert {count.state for count in shop.storage.reader.counts()} == {State.PENDING}


@pytest.mark.parametrize("named", ["one that is there", "one that is not"])
def test_all_that_match_an_id_are_that_one_alone(shop, admin, named):
    first, second = die(2)
    asked = first if named == "one that is there" else "nonsense"
    admin.post(f"{BASE}deadletter/?id={asked}", {"action": "drop", "_all": "1"})
    assert [shop.storage.reader.find(one) is None for one in (first, second)] == [asked == first, False]


def test_the_pages_follow_each_other_without_gap_or_repetition(shop, admin):
    ids = {pay.delay(n).id for n in range(7)}
    from liteq_django.admin import TaskAdmin

    before, TaskAdmin.per_page = TaskAdmin.per_page, 3
    seen, query = [], ""
    try:
        while True:
            html = admin.get(f"{BASE}taskmessage/?{query}").content.decode()
            seen += re.findall(r'name="_selected" value="([^"]+)"', html)
            found = re.search(r'href="\?([^"]+)">Next page', html)
            if found is None:
                break
            query = found[1].replace("&amp;", "&")
    finally:
        TaskAdmin.per_page = before
    assert len(seen) == 7
    assert set(seen) == ids


def test_schedules_are_added_changed_paused_run_and_deleted(shop, admin):
    form = {"name": "every night", "task": "shop.orders.tasks.pay", "schedule": "30 3 * * *", "args": "[1]"}
    assert "five fields" in admin.post(f"{BASE}schedule/add/", {**form, "schedule": "at dawn"}).content.decode()
    assert "JSON array" in admin.post(f"{BASE}schedule/add/", {**form, "args": "{}"}).content.decode()
    assert admin.post(f"{BASE}schedule/add/", form).status_code == 302
    unknown = admin.post(f"{BASE}schedule/add/", {**form, "name": "typo", "task": "shop.orders.tasks.pey"}, follow=True)
    assert "a task that this app does not know (nearest: &#x27;shop.orders.tasks.pay&#x27;" in unknown.content.decode()
    shop.schedules.remove("typo")
    assert "there is a schedule" in admin.post(f"{BASE}schedule/add/", form).content.decode()
    assert "30 3 * * *" in page(admin, "schedule/")
    one = f"{BASE}schedule/every night/change/"
    assert admin.post(one, {**form, "schedule": "90", "queue": "mail"}).status_code == 302
    assert "90" in page(admin, "schedule/")
    admin.post(one, {"action": "pause"})
    assert not shop.storage.schedules.find("every night").enabled
    admin.post(one, {"action": "resume"})
    assert shop.storage.schedules.find("every night").enabled
    admin.post(one, {"action": "run_now"})
    assert [(count.queue, count.n) for count in shop.storage.reader.counts()] == [("mail", 1)]
    admin.post(f"{BASE}schedule/", {"action": "remove", "_selected": ["every night"]})
    assert shop.schedules.all() == []


def test_a_schedule_that_is_changed_keeps_its_time_zone(shop, admin):
    when = crontab("30", "*/2")
    when.zone = ZoneInfo("America/New_York")
    shop.schedules.add("far", when, "shop.orders.tasks.pay", (1,), priority=5)
    shop.schedules.add("rare", 1234567, "shop.orders.tasks.pay", (1,))
    assert "30 */2 * * * (America/New_York)" in page(admin, "schedule/")
    for name, text in {"far": "30 */2 * * *", "rare": "1234567"}.items():
        before = shop.storage.schedules.find(name)
        assert f'value="{text}"' in page(admin, f"schedule/{name}/change/")
        form = {"task": "shop.orders.tasks.pay", "schedule": text, "args": "[2]"}
        assert admin.post(f"{BASE}schedule/{name}/change/", form).status_code == 302
        after = shop.storage.schedules.find(name)
        assert after.schedule == before.schedule
        assert decode(after.signature)["args"] == [2]


def test_pages_that_django_makes_of_a_table_are_not_there(shop, admin):
    shop.schedules.add("nightly", 3600, "shop.orders.tasks.pay", (1,))
    for name in ("delete", "history"):
        assert admin.get(f"{BASE}schedule/nightly/{name}/").status_code == 404
    assert admin.post(f"{BASE}schedule/nightly/delete/", {"post": "yes"}).status_code == 404


def test_a_schedule_of_what_json_has_no_form_for_is_changed(shop, admin):
    args = [datetime(2030, 1, 2, tzinfo=UTC), b"\xff"]
    shop.schedules.add("raw", 60, "shop.orders.tasks.pay", args)
    html = page(admin, "schedule/raw/change/")
    text = unescape(re.search(r'<textarea name="args"[^>]*>\s*(.*?)</textarea>', html, re.DOTALL)[1])
    form = {"task": "shop.orders.tasks.pay", "schedule": "90", "args": text}
    assert admin.post(f"{BASE}schedule/raw/change/", form).status_code == 302
    found = shop.storage.schedules.find("raw")
    assert (b"90" in found.schedule, decode(found.signature)["args"]) == (True, args)


def test_a_schedule_s_sensitive_argument_is_not_shown_and_survives_a_change(shop, admin):
    form = {"name": "pay", "task": "shop.orders.tasks.charge", "schedule": "60", "args": '[1, "4111 1111"]'}
    admin.post(f"{BASE}schedule/add/", form)
    one = f"{BASE}schedule/pay/change/"
    shop.schedules.pause("pay")
    for html in (page(admin, "schedule/"), page(admin, "schedule/pay/change/")):
        assert "4111 1111" not in html
    assert admin.post(one, {**form, "schedule": "90", "args": '[2, "***"]'}).status_code == 302
    assert decode(shop.storage.schedules.find("pay").signature)["args"] == [2, "4111 1111"]


def test_workers_are_shown(shop, admin):
    from liteq.message import WorkerIdentity

    shop.storage.register_worker(WorkerIdentity("u1", "liteq@host", "host", "boot", 42, "0"), b'{"queues": ["mail"]}')
    assert "liteq@host" in page(admin, "worker/")
    assert "mail" in page(admin, "worker/u1/change/")


def test_each_deed_needs_its_permission(shop):
    (dead,) = die()
    clerk = staff("view_deadletter", "replay_deadletter")
    assert clerk.get(f"{BASE}taskmessage/").status_code == 403
    html = page(clerk, "deadletter/")
    assert "Replay" in html
    assert "Drop" not in html
    assert clerk.post(f"{BASE}deadletter/", {"action": "drop", "_selected": [dead]}).status_code == 403
    assert clerk.get(f"{BASE}schedule/add/").status_code == 403
    assert shop.storage.reader.find(dead).state is State.DEAD
    assert clerk.post(f"{BASE}deadletter/", {"action": "replay", "_selected": [dead]}).status_code == 302
    assert shop.storage.reader.find(dead).state is State.PENDING


def test_a_form_without_its_token_is_refused(shop):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root", password="x"))
    (dead,) = die()
    assert client.post(f"{BASE}deadletter/", {"action": "drop", "_selected": [dead]}).status_code == 403
    assert shop.storage.reader.find(dead) is not None


def test_a_queue_that_cannot_be_read_is_told_on_the_page(shop, admin, monkeypatch):
    from liteq.exceptions import StorageError

    def fail(*args, **kwargs):
        raise StorageError("the disk failed")

    monkeypatch.setattr(shop.storage.views, "page", fail)
    assert "the disk failed" in page(admin, "taskmessage/")
    assert Order.objects.count() == 0


def test_the_overview_tells_what_is_wrong(shop, admin):
    die()
    pay.apply_async((1,), queue="mail")
    html = page(admin, "taskmessage/overview/")
    assert "1 dead letter" in html
    assert "1 message waits in queue &#x27;mail&#x27;" in html
    assert "No worker lives." in html
    assert 'href="/admin/liteq_django/taskmessage/overview/"' in page(admin, "worker/")


def test_the_overview_is_for_those_that_may_see_tasks(shop):
    assert staff("view_worker").get(BASE + "taskmessage/overview/").status_code == 403
    User.objects.all().delete()
    assert staff("view_taskmessage").get(BASE + "taskmessage/overview/").status_code == 200


def test_a_page_refreshes_itself_when_asked_to(shop, admin):
    assert "http-equiv" not in page(admin, "taskmessage/", queue="mail")
    html = page(admin, "taskmessage/", queue="mail", refresh="5")
    assert '<meta http-equiv="refresh" content="5">' in html
    assert 'href="?queue=mail"' in html
    assert 'content="5"' in page(admin, "worker/", refresh="1")  # no faster
    assert "http-equiv" not in page(admin, "worker/", refresh="x")


def test_the_form_of_a_schedule_offers_tasks(shop, admin):
    html = page(admin, "schedule/add/")
    assert '<option value="shop.orders.tasks.pay">' in html
    assert 'list="liteq-tasks"' in html


def test_a_detail_shows_each_field_once(shop, admin):
    pay.app.schedules.add("nightly", 3600.0, "shop.orders.tasks.pay", (1,))
    html = page(admin, "schedule/nightly/change/")
    assert html.count(">Schedule:<") == 1
    assert '<th scope="row">Schedule</th>' not in html
    assert html.count('<th scope="row">Next run</th>') == 1


WEB = """
import sys
from django.contrib.auth.models import User
from django.test import Client
from liteq_django.project import default_app

default_app().schedules.add("nightly", 3600, "shop.orders.tasks.pay", (4242,))
client = Client()
client.force_login(User.objects.create_superuser("web"))
print("shop.orders.tasks" in sys.modules, "4242" in client.get(sys.argv[1]).content.decode())
"""


@pytest.mark.parametrize("path", ["/admin/liteq_django/schedule/nightly/change/", "/in/liteq/schedules/nightly"])
def test_a_web_process_that_sends_no_task_shows_their_arguments(shop, site, path):
    (site.folder / "plain.py").write_text("from shop.settings import *\ndel TASKS\n")
    site.env |= {"DJANGO_SETTINGS_MODULE": "plain", "PYTHONPATH": f"{site.env['PYTHONPATH']}{os.pathsep}{site.folder}"}
    done = site.python(WEB, path)
    assert done.stdout == "False True\n", done.stderr
