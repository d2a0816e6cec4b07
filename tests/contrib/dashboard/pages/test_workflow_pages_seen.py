"""Workflows and approvals in a real browser: each shape and size, both themes, a phone, without JavaScript, hostile."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

AXE = Path(__file__).parent / "axe" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: {type: "tag", values: arguments[0]}, rules: {"target-size": {enabled: true}}})
  .then((found) => done(found.violations.map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 200)}`)))
  .catch((error) => done([String(error)]));
"""
PAY = f"approvals/order-7/{quote('Pay 1200?', safe='')}"


@pytest.fixture(scope="module")
def flows(tmp_path_factory):
    from flows_at_work import at_work

    app, ids = at_work(tmp_path_factory.mktemp("flows"))
    yield app, ids
    app.close()


@pytest.fixture
def browser(flows, browser, chromium):
    """The browser at the dashboard of the flows."""
    from dashboard_browser import Browser, served

    from liteq_dashboard import Viewer
    from liteq_dashboard.asgi import asgi_app

    with served(asgi_app(flows[0], lambda _request: Viewer("ann", ["admin"]))) as url:
        yield Browser(chromium, url)


def paths(ids, of):
    """The paths of the pages of one kind, by names for their pictures."""
    if of == "others":
        return {
            "workflows": "workflows",
            "approvals": "approvals",
            "approval": PAY,
            "act": "workflows/order-7/act/fork",
        }
    return {f"{of}-{view}": f"workflows/{ids[of]}?view={view}" for view in ("graph", "gantt", "table")}


def opened(browser, path):
    """Open a page. A read of more than a second is stopped and says 503: on a busy machine it is asked again."""
    browser.complaints()
    for _ in range(5):
        browser.open(path)
        if "Service Unavailable" not in browser.text():
            return
        assert all("503" in one for one in browser.complaints())
    raise AssertionError(f"{path} could not be read five times")


@pytest.mark.parametrize(
    "of", ["others", "ten", "two-hundred", "ten-thousand", "nested", "failed", "hostile", "order-7"]
)
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_no_page_has_a_finding_a_complaint_or_a_second_scrollbar(browser, flows, theme, width, of):
    browser.look(theme=theme, width=width)
    source = AXE.read_text(encoding="utf-8")
    findings = {}
    for name, path in paths(flows[1], of).items():
        opened(browser, path)
        browser.run(source)
        wrong = browser.driver.execute_async_script(RUN_AXE, TAGS) + browser.complaints()
        if browser.run("return document.documentElement.scrollWidth > innerWidth"):
            wrong.append("it is wider than the window")
        if browser.run("return window.hacked"):
            wrong.append("markup of the file ran")
        if wrong:
            findings[name] = wrong
        browser.shoot(f"workflow-{name}-{width}-{theme}")
    assert findings == {}


def test_a_phone_and_a_screen_reader_get_the_list(browser, flows):
    browser.look(width=390)
    browser.open(f"workflows/{flows[1]['nested']}")
    assert not browser.one(".drawing").is_displayed()
    assert browser.run("return document.querySelector('.as-list .steps').getBoundingClientRect().height > 100")
    assert "replaced by" in browser.one(".as-list").get_attribute("textContent")
    browser.look(width=1280)
    browser.open(f"workflows/{flows[1]['nested']}")
    assert browser.one(".drawing svg").is_displayed()
    assert browser.one(".drawing svg").get_attribute("aria-hidden") == "true"


def test_a_strip_is_opened_and_its_members_lead_to_their_pages(browser, flows):
    browser.look()
    browser.open(f"workflows/{flows[1]['ten-thousand']}")
    browser.one(".as-list summary").click()
    browser.driver.find_element("partial link text", "10,000").click()
    browser.soon(lambda: "view=table" in browser.driver.current_url)
    browser.one("main tbody a.id").click()
    browser.soon(lambda: "/tasks/" in browser.driver.current_url)


def test_a_run_is_forked_by_a_page_that_asks(browser, flows):
    browser.look()
    browser.open("workflows/order-8")
    browser.driver.find_element("link text", "Fork").click()
    browser.soon(lambda: browser.all("select[name=step]"))
    browser.one("input[name=new_id]").clear()
    browser.one("input[name=new_id]").send_keys("order-9")
    browser.one("main form button").click()
    browser.soon(lambda: browser.driver.current_url.endswith("/workflows/order-9"))
    assert "This run begins with the steps of order-8" in browser.text(".tell")
    assert flows[0].storage.runs.find("order-9").forked_from == "order-8"


def test_an_approval_that_does_not_fit_is_shown_again_with_what_was_typed(browser, flows):
    browser.look()
    browser.open(PAY)
    browser.one("input[type=number]").send_keys("12")
    browser.one("textarea[name=comment]").send_keys("a good customer")
    browser.run("document.querySelector('input[type=number]').type = 'text'")
    browser.one("input[name='f.amount']").send_keys("x")
    browser.one("button[value=yes]").click()
    browser.soon(lambda: browser.all("#wrong"))
    assert browser.one("textarea[name=comment]").get_attribute("value") == "a good customer"
    assert browser.one("[aria-invalid=true]").get_attribute("name") == "f.amount"
    browser.one("input[name='f.amount']").clear()
    browser.one("input[name='f.amount']").send_keys("300")
    browser.one("button[value=yes]").click()
    browser.soon(lambda: browser.driver.current_url.endswith("/workflows/order-7"))
    assert "was approved" in browser.text(".tell")
    browser.open(PAY)
    assert "approved by ann" in browser.text()
