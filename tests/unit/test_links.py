"""Where other tools have a task: addresses by the templates of the settings."""

from __future__ import annotations

import pytest

from liteq import LiteQ
from liteq.context.observing import headers_of
from liteq.exceptions import ImproperlyConfigured
from liteq.monitor.links import links

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def app(tmp_path):
    with LiteQ("linked", broker=f"sqlite:///{tmp_path}/q.db") as made:
        made.conf.trace_url_template = "https://jaeger.example.org/trace/{trace_id}"
        made.conf.sentry_url_template = "https://example.sentry.io/?query=task:{task}+id:{task_id}"
        yield made


def record_of(app, **headers):
    sent = app.send_task("shop/charge now", headers=headers)
    return app.storage.reader.find(sent.id)


@pytest.mark.parametrize(
    ("name", "value"),
    [("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"), ("sentry-trace", f"{TRACE}-b7ad6b7169203331-1")],
)  # fmt: skip
def test_a_task_is_found_by_its_trace_and_by_its_id(app, name, value):
    record = record_of(app, **{name: value})
    assert links(app, record) == {
        "trace": f"https://jaeger.example.org/trace/{TRACE}",
        "sentry": f"https://example.sentry.io/?query=task:shop%2Fcharge%20now+id:{record.id}",
    }


@pytest.mark.parametrize("headers", [{}, {"traceparent": "rubbish"}, {"traceparent": 7}])
def test_without_a_trace_there_is_no_link_to_one(app, headers):
    assert links(app, record_of(app, **headers)).keys() == {"sentry"}


@pytest.mark.parametrize("options", [None, b"", b"\x00", b"[1]", b'{"headers": [1]}', b'{"headers": null}'])
def test_options_that_others_wrote_have_no_headers(options):
    """The worker logs each message with the headers in its options: a damaged one must not hold up the others."""
    assert headers_of(options) == {}


def test_without_a_template_there_is_no_link(app):
    app.conf.trace_url_template = app.conf.sentry_url_template = None
    assert links(app, record_of(app, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")) == {}


@pytest.mark.parametrize(
    "template", ["javascript:alert({task_id})", "https://x/{trace}", "https://x/{", "https://x/{task_id.__class__}", "https://x/{}"]
)  # fmt: skip
def test_a_template_that_is_no_address_or_names_what_is_not_there_is_refused(template):
    made = LiteQ("linked", broker="sqlite:///:memory:", trace_url_template=template, set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match=r"it takes http:// or https:// with \{trace_id\}, \{task_id\}"):
        assert made.conf.trace_url_template
