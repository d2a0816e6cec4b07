"""The dashboard among a project's URLs: the staff's own login and permissions, Django's token, the admin's log."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client
from django.urls import get_resolver
from shop.orders.tasks import charge, pay

from liteq.states import State
from liteq_dashboard import RIGHTS
from liteq_dashboard.links import link
from liteq_dashboard.routes import routes
from liteq_django import drain
from liteq_django.dashboard import CODENAMES, SUPERUSERS, viewer_of

from .admin_pages import page, staff

BASE = "/in/liteq/"
SAME = {"HTTP_SEC_FETCH_SITE": "same-origin"}


def dead(id_: str | None = None) -> str:
    sent = charge.apply_async((1, "4111 1111"), task_id=id_)
    assert drain() == 1
    return sent.id


def test_every_line_of_the_table_is_a_route_of_django(shop):
    patterns = next(one for one in get_resolver().url_patterns if getattr(one, "app_name", "") == "liteq_dashboard")
    found = {str(one.pattern).replace("<str:", "{").replace(">", "}") for one in patterns.url_patterns}
    assert {route.path for route in routes()} <= found


def test_who_is_not_signed_in_is_led_to_the_admins_login(shop):
    found = Client().get(f"{BASE}tasks?q=state:dead")
    assert found.status_code == 302
    assert found["Location"] == "/admin/login/?next=/in/liteq/tasks%3Fq%3Dstate%3Adead"
    assert Client().get(f"{BASE}api/v1/tasks").status_code == 401


def test_a_user_who_is_no_staff_sees_nothing(shop):
    client = Client()
    client.force_login(User.objects.create_user("guest"))
    assert client.get(f"{BASE}tasks").status_code == 403


@pytest.mark.parametrize(("right", "codenames"), CODENAMES.items())
def test_rights_are_the_admins_permissions(shop, right, codenames):
    staff(*codenames)
    assert right in viewer_of(User.objects.get(username="clerk")).rights
    assert viewer_of(AnonymousUser()) is None


def test_a_superuser_has_every_right(shop, admin):
    assert set(CODENAMES) | set(SUPERUSERS) == set(RIGHTS)
    assert viewer_of(User.objects.get(username="root")).rights == set(RIGHTS)


def test_pages_are_below_the_prefix_with_the_name_of_the_user(shop, admin):
    sent = dead()
    found = admin.get(f"{BASE}tasks/{sent}")
    text = found.content.decode()
    assert (found.status_code, 'href="/in/liteq/queues"' in text, ">root<" in text) == (200, True, True)
    assert found["Content-Security-Policy"].startswith("default-src 'none'")
    assert "4111 1111" not in text
    assert admin.get(f"{BASE}nothing").status_code == 404
    assert admin.delete(f"{BASE}tasks").status_code == 405


def test_what_a_host_cannot_stream_is_asked_for(shop, admin):
    assert 'data-stream="no"' in admin.get(BASE).content.decode()
    stamp = admin.get(f"{BASE}live").json()["stamp"]
    assert admin.get(f"{BASE}live?stamp={stamp}").status_code == 204


def test_an_act_needs_djangos_token_and_a_page_gives_it(shop):
    sent = dead()
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root", password="x"))
    path = f"{BASE}tasks/{sent}/requeue"
    form = client.get(path).content.decode()
    given = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
    assert client.post(path, {**given, "csrfmiddlewaretoken": "x"}, **SAME).status_code == 403
    assert shop.storage.reader.find(sent).state is State.DEAD
    assert client.post(path, given).status_code == 403  # not from a page: no origin
    assert client.post(path, given, **SAME).status_code == 303
    assert shop.storage.reader.find(sent).state is State.PENDING


@pytest.mark.parametrize("id_", [None, "a/b", "%41"])
def test_an_act_stands_in_the_audit_and_in_the_admins_log(shop, admin, id_):
    sent = dead(id_)
    path = link(BASE.rstrip("/"), "tasks", sent, "requeue")
    given = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', admin.get(path).content.decode()))
    assert admin.post(path, given, **SAME).status_code == 303
    (entry,) = LogEntry.objects.all()
    assert (entry.user.username, entry.object_id) == ("root", sent)
    assert "requeue" in entry.change_message
    assert [(one.actor, one.action, one.target) for one in shop.storage.audit.page()] == [("root", "requeue", sent)]


@pytest.mark.parametrize(("kind", "status"), [("application/json", 400), ("text/plain", 415)])
def test_a_body_that_cannot_be_read_does_nothing(shop, admin, kind, status):
    url = f"{BASE}api/v1/queues/mail/pause"
    assert admin.post(url, '{"until": 1795', content_type=kind, **SAME).status_code == status
    assert not shop.storage.queues.paused()
    assert admin.post(url, '{"reason": "x"}', content_type="application/json", **SAME).status_code == 200


def test_a_clerk_without_the_permission_is_refused_and_that_is_noted(shop):
    sent = dead()
    clerk = staff("view_taskmessage")
    assert clerk.post(f"{BASE}tasks/{sent}/requeue", {}, **SAME).status_code == 403
    assert not LogEntry.objects.exists()
    assert [(one.actor, one.action) for one in shop.storage.audit.page()] == [("clerk", "refused")]


def test_the_admins_pages_lead_to_the_dashboard(shop, admin):
    pay.delay(1)
    assert f'href="{BASE}"' in page(admin, "taskmessage/")
