"""Everything out of the file is hostile: a corpus of markup in every name and value, and none of it runs."""

from __future__ import annotations

import os

import pytest

from liteq import LiteQ
from liteq.message import WorkerIdentity
from liteq.testing import drain

from ....faults.sizes import NIGHTLY

CORPUS = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\"><svg onload='window.hacked=1'>",
    "'-window.hacked=1-'",
    "</textarea></title></style><script>window.hacked=1</script>",
    "<a href=\"javascript:window.hacked=1\">click</a>",
    "javascript:window.hacked=1",
    "{{ 7 * 7 }}{% raw %}",
    "<div hx-get=/ops/live hx-trigger=load hx-on:click=window.hacked=1>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>",
    "]]><!--<math><mi xlink:href=\"data:x,<script>window.hacked=1</script>\">",
    "../../etc/passwd",
    "..",
    "a/b?c=d#e&f=%2e%2e",
    "\u202egpj.exe\u200b \u2028 é 漢字 😀",
    "=1+1",
)  # fmt: skip


EACH = 1 if NIGHTLY else 2  # each second kind of page has each second text; lists and failures have all


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """An app on a file that has each of the corpus in every place where a name or a value can be."""
    app = LiteQ("hostile", broker=f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'q.db'}")

    @app.task(name="fails")
    def fails(text: str) -> None:
        raise type("Worse", (Exception,), {"__name__": text})(text)

    @app.task(name="returns")
    def returns(text: str) -> list[str]:
        return [text]

    for n, text in enumerate(CORPUS):
        named = app.task(name=f"{n} {text}")(lambda value: value)
        app.schedules.add(f"{n} {text}", 3600, named, [text], {})
        named.apply_async((text,), queue=f"{n} {text}")
        app.send_task(f"unknown {n} {text}", [text], {text: text}, queue="celery-unknown")
        fails.delay(text)
        returns.delay(text)
        identity = WorkerIdentity(f"uuid-{n}", f"{n} {text}", text, "", os.getpid(), "")
        app.storage.limits.set(f"{n} {text}", concurrent=1)
        app.storage.limits.pause(f"{n} {text}", 3_600, reason=text)
        app.storage.register_worker(identity, b'{"queues": ["celery"], "concurrency": 2, "tasks": ["<b>x</b>"]}')
    drain(app, ["celery"])
    return app


@pytest.fixture(scope="module")
def hostile_site(hostile):
    from dashboard_browser import served

    from liteq_dashboard import Viewer
    from liteq_dashboard.asgi import asgi_app

    with served(asgi_app(hostile, lambda _request: Viewer(CORPUS[0], ["admin"]))) as url:
        yield url


def links(app):
    """A path of each page on each of the corpus."""
    from liteq.monitor.tasks.failures import failures
    from liteq.monitor.tasks.tasks import tasks
    from liteq_dashboard.links import link

    found = [
        "",
        "tasks",
        "failures",
        "queues",
        "workers",
        "schedules",
        "file",
        "workflows",
        "operations",
        "activity",
        "limits",
    ]
    for n, text in enumerate(CORPUS):
        name = f"{n} {text}"
        of_it = [
            link("", *parts).lstrip("/")
            for parts in (
                ("queues", name), ("types", name), ("workers", name), ("schedules", name),
                ("schedules", name, "edit"), ("workers", name, "stop"), ("queues", name, "pause"), ("limits", name),
            )
        ]  # fmt: skip
        of_it.append(link("", "tasks", q=text).lstrip("/"))
        found += of_it[n % EACH :: EACH]
    found += [
        link("", "tasks", one["id"]).lstrip("/") for one in tasks(app, limit=200)["items"][:: 2 * EACH - 1]
    ]  # four kinds
    found += [link("", "failures", one["id"]).lstrip("/") for one in failures(app)["items"]]
    return found


@pytest.mark.timeout(300)  # a hundred pages and more
def test_nothing_of_it_runs(chromium, hostile, hostile_site):
    from dashboard_browser import Browser

    browser = Browser(chromium, hostile_site)
    browser.look(live=0)
    browser.complaints()
    wrong = []
    for path in links(hostile):
        browser.open(path)
        complaints = [one for one in browser.complaints() if "status of 4" not in one]
        if complaints or browser.run("return window.hacked") or not browser.all("h1"):
            wrong.append((path, complaints, browser.text("body")[:200]))
    assert wrong == []


def test_the_corpus_is_shown_as_it_is(chromium, hostile_site):
    from dashboard_browser import Browser

    browser = Browser(chromium, hostile_site)
    browser.look()
    browser.open("queues")
    shown = browser.text()
    for n, text in enumerate(CORPUS[:9]):
        assert " ".join(f"{n} {text}".split()) in " ".join(shown.split())


@pytest.mark.parametrize("text", CORPUS)
def test_a_queue_of_any_name_has_a_page(chromium, hostile_site, text):
    from dashboard_browser import Browser

    from liteq_dashboard.links import link

    browser = Browser(chromium, hostile_site)
    name = f"{CORPUS.index(text)} {text}"
    browser.open(link("", "queues", name).lstrip("/"))
    assert browser.run("return document.querySelector('h1').textContent").strip() == name
