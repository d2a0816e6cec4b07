"""The admin's pages of runs and approvals: what they show, who may decide, and that it is kept who did."""

from __future__ import annotations

import json
from urllib.parse import quote as url_quote

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from pydantic import BaseModel

from liteq.workflow import ctx
from liteq_django import drain

from .admin_pages import BASE, client_with, page, staff


class Terms(BaseModel):
    """The data that an approval asks for."""

    days: int


@pytest.fixture
def flow(shop):
    @shop.workflow(name="shop.refund", sensitive=("card",))
    def refund(order: int, card: str = "4111") -> str:
        ctx.run(len, "abc")
        if order < 0:
            raise ValueError("<b>declined</b>")
        decision = ctx.approval("<i>Refund?</i>", details={"order": order}, form=Terms if order == 7 else None)
        return f"{decision.ok} {decision.by} {decision.comment} {decision.data and decision.data.days}"

    return refund


def begin(flow, id_, order=1, **options):
    run = flow.options(id=id_, **options).start(order)
    drain()
    return run


def key(run_id, title="<i>Refund?</i>"):
    return json.dumps([run_id, title], separators=(",", ":"))


def decide(client, run_id, action, **form):
    path = f"{BASE}approval/{url_quote(quote(key(run_id)))}/change/"
    return client.post(path, {"action": action, **form}, follow=True)


def test_runs_are_listed_searched_and_shown(shop, admin, flow):
    begin(flow, "order-1", tags=["vip"])
    begin(flow, "order-2", -1)
    html = page(admin, "workflowrun/")
    assert "approval &lt;i&gt;Refund?&lt;/i&gt;" in html
    assert "ValueError: &lt;b&gt;declined" in html
    assert "order-2" not in page(admin, "workflowrun/", status="waiting")
    assert "order-2" not in page(admin, "workflowrun/", tag="vip")
    assert "order-1" not in page(admin, "workflowrun/", id="order-2")
    assert "There is no run nonsense" in page(admin, "workflowrun/", id="nonsense")
    one = page(admin, "workflowrun/order-1/change/")
    assert "&lt;i&gt;Refund" in one
    assert "<i>Refund" not in one + html
    assert "█" in one
    assert admin.get(f"{BASE}workflowrun/nonsense/change/").status_code == 404


def test_sensitive_arguments_of_a_run_are_not_shown(shop, admin, flow):
    flow.options(id="order1").start(1, card="4242-4242")
    html = page(admin, "workflowrun/order1/change/")
    assert "4242-4242" not in html
    assert "***" in html


def test_errors_of_a_run_that_quote_a_sensitive_argument_are_shown_without_it(shop, admin):
    @shop.step(name="ask")
    def ask(card: str) -> None:
        raise ValueError(f"no such card: {card}")

    @shop.workflow(name="shop.asks", sensitive=("card",))
    def asks(card: str) -> None:
        ask(card)

    asks.options(id="order1").start("4242-4242")
    drain()
    listed, one = page(admin, "workflowrun/"), page(admin, "workflowrun/order1/change/")
    assert "4242-4242" not in listed + one
    assert listed.count("no such card: ***") == 1
    assert one.count("no such card: ***") == 2, "the run's error and the step's"


def test_runs_are_cancelled_paused_resumed_and_retried(shop, admin, flow):
    run, failed = begin(flow, "order1"), begin(flow, "order2", -1)

    def act(action, *ids):
        response = admin.post(f"{BASE}workflowrun/", {"action": action, "_selected": ids}, follow=True)
        return response.content.decode()

    assert "1 paused" in act("pause", "order1")
    assert run.status == "paused"
    assert "1 resumed" in act("resume", "order1", "order2")
    assert "1 retried" in act("retry", "order2")
    assert failed.status == "queued"
    assert "1 cancelled" in act("cancel", "order1")
    drain()
    assert run.status == "cancelled"
    from django.contrib.admin.models import LogEntry

    assert LogEntry.objects.filter(object_id="order1", change_message__contains="Cancel").count() == 1


def test_a_viewer_can_do_nothing(shop, flow):
    run = begin(flow, "order1")
    viewer = staff("view_workflowrun", "view_approval")
    assert "order1" in page(viewer, "workflowrun/")
    assert viewer.post(f"{BASE}workflowrun/", {"action": "cancel", "_selected": ["order1"]}).status_code == 403
    assert decide(viewer, "order1", "approve").status_code == 403
    posted = viewer.post(f"{BASE}approval/", {"action": "approve", "_selected": [key("order1")]})
    assert posted.status_code == 403
    assert run.approvals()
    assert staff_of_nothing().get(f"{BASE}approval/").status_code == 403


def staff_of_nothing():
    return client_with(User.objects.create_user("nobody", password="x", is_staff=True))


def test_an_approval_is_decided_in_the_users_name(shop, flow):
    run = begin(flow, "order1")
    clerk = staff("view_approval", "decide_approval")
    assert "&lt;i&gt;Refund?" in page(clerk, "approval/")
    response = decide(clerk, "order1", "approve", comment="fine")
    assert "was approved" in response.content.decode()
    drain()
    assert run.result(timeout=60) == "True clerk fine None"
    assert "order1" not in page(clerk, "approval/")
    from django.contrib.admin.models import LogEntry

    assert LogEntry.objects.get().user.username == "clerk"


def test_several_are_rejected_from_the_list(shop, admin, flow):
    runs = [begin(flow, "order1"), begin(flow, "order2")]
    ids = [key("order1"), key("order2")]
    response = admin.post(f"{BASE}approval/", {"action": "reject", "_selected": ids}, follow=True)
    assert response.content.decode().count("was rejected") == 2
    drain()
    assert [run.result(timeout=60) for run in runs] == ["False root  None"] * 2


def test_data_that_does_not_fit_is_told_of_in_the_form(shop, admin, flow):
    run = begin(flow, "order1", 7)
    wrong = decide(admin, "order1", "approve", data='{"days": "many"}').content.decode()
    assert "days" in wrong
    assert "nothing was decided" in wrong
    assert run.approvals()
    decide(admin, "order1", "approve", data='{"days": 3}')
    drain()
    assert run.result(timeout=60) == "True root  3"


def test_a_post_without_a_decision_decides_nothing(shop, admin, flow):
    run = begin(flow, "order1")
    decide(admin, "order1", "")
    assert run.approvals()


def test_a_second_decision_is_told_who_was_first(shop, admin, flow):
    run = begin(flow, "order1")
    run.approve("<i>Refund?</i>", by="bob")
    again = admin.post(f"{BASE}approval/", {"action": "reject", "_selected": [key("order1")]}, follow=True)
    assert "approved by bob" in again.content.decode()


def test_an_approval_that_is_not_open_is_not_there(shop, admin, flow):
    assert admin.get(f"{BASE}approval/{url_quote(quote(key('nonsense')))}/change/").status_code == 404
    assert admin.get(f"{BASE}approval/nonsense/change/").status_code == 404


def test_the_overview_counts_runs_that_wait(shop, admin, flow):
    assert "Runs of workflows" not in page(admin, "taskmessage/overview/")
    begin(flow, "order1")
    begin(flow, "order2").pause()
    html = page(admin, "taskmessage/overview/")
    for words in ("Wait for something", "Paused", "Approvals are open"):
        assert f'<th scope="row">{words}</th>' in html
