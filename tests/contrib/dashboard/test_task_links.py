"""The page of a task leads to its trace and to its errors, where the settings say where these are."""

from __future__ import annotations

import pytest

from liteq import LiteQ

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def app(tmp_path):
    with LiteQ("linked", broker=f"sqlite:///{tmp_path}/q.db") as made:
        made.storage.migrate()
        yield made


def test_a_task_s_page_links_to_its_trace_and_to_sentry(app, client):
    app.conf.trace_url_template = "https://jaeger.example.org/trace/{trace_id}"
    app.conf.sentry_url_template = "https://example.sentry.io/?query=liteq_task_id:{task_id}"
    sent = app.send_task("shop.charge", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    page = client(app).get(f"tasks/{sent.id}").text
    assert f'<a href="https://jaeger.example.org/trace/{TRACE}" rel="noreferrer">' in page
    assert f'<a href="https://example.sentry.io/?query=liteq_task_id:{sent.id}" rel="noreferrer">' in page


def test_without_templates_it_has_no_such_link(app, client):
    sent = app.send_task("shop.charge", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert "noreferrer" not in client(app).get(f"tasks/{sent.id}").text


def test_what_is_in_the_file_makes_no_other_address(app, client):
    app.conf.trace_url_template = "https://jaeger.example.org/{task}/{trace_id}"
    hostile = '"><script>/../'
    sent = app.send_task(hostile, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    page = client(app).get(f"tasks/{sent.id}").text
    assert f"https://jaeger.example.org/%22%3E%3Cscript%3E%2F..%2F/{TRACE}" in page
