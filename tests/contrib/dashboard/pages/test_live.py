"""A live page: it shows what changes, and leaves a list alone that is being worked on."""

from __future__ import annotations


def waiting(browser):
    return browser.all("#part-items tbody tr")


def test_a_page_shows_what_came(browser, shop):
    browser.look(live=2)
    browser.complaints()
    browser.open("tasks?q=queue:newcomers")
    assert waiting(browser) == []
    shop.send_task("shop.ledger.close", ("2026-12-24",), queue="newcomers")
    browser.soon(lambda: len(waiting(browser)) == 1)
    assert browser.complaints() == []


def test_a_page_of_a_task_follows_its_progress_and_its_streams(browser, shop):
    id_ = shop.send_task("shop.ledger.close", ("2026-12-24",), queue="followed").id
    (lease,) = shop.storage.claim(["followed"], worker=0, limit=1, visibility_s=600)
    under = (lease.seq, lease.token)
    browser.look(live=2)
    browser.open(f"tasks/{id_}")
    assert browser.text("#part-progress") == ""
    shop.storage.progress(id_, b'{"state": "PROGRESS", "meta": {"current": 7, "total": 9}}', lease=under)
    shop.storage.streams.emit(under, "words", [b'"the first word"'])
    browser.soon(lambda: "7 of 9" in browser.text("#part-progress"))
    browser.soon(lambda: "the first word" in browser.text("#part-streams"))
    assert browser.complaints() == []


def test_a_list_with_a_tick_stands_still_and_says_so(browser, shop):
    shop.send_task("shop.ledger.close", ("2026-12-24",), queue="standing")
    browser.look(live=2)
    browser.open("tasks?q=queue:standing")
    browser.soon(lambda: len(waiting(browser)) == 1)
    box = browser.one(".tick input")
    box.click()
    shop.send_task("shop.ledger.close", ("2026-12-25",), queue="standing")
    browser.soon(lambda: "1 new here" in browser.text(".frozen"))
    assert len(waiting(browser)) == 1
    assert box.is_selected()
    browser.one(".frozen button").click()
    browser.soon(lambda: len(waiting(browser)) == 2)


def test_a_page_whose_session_has_ended_says_so_and_asks_no_more(chromium, shop):
    from dashboard_browser import Browser, served

    from liteq_dashboard import Viewer
    from liteq_dashboard.asgi import natively
    from liteq_dashboard.dispatch import Dashboard

    known = [Viewer("ann", ["admin"])]
    with served(natively(Dashboard(shop, login="login"), lambda _request: next(iter(known), None))) as url:
        browser = Browser(chromium, url)
        browser.look(live=2)
        browser.open("tasks?q=queue:ended")
        known.clear()
        shop.send_task("shop.ledger.close", ("2026-12-24",), queue="ended")
        browser.soon(lambda: "signed out" in browser.text("#live"))
        assert waiting(browser) == []


def test_focus_and_place_are_kept_when_a_part_changes(browser, shop):
    browser.look(live=2)
    shop.send_task("shop.ledger.close", ("2026-12-24",), queue="focus")
    browser.open("tasks?q=queue:focus")
    browser.soon(lambda: len(waiting(browser)) == 1)
    first = browser.one("#part-items tbody tr a")
    browser.run("arguments[0].focus()", first)
    shop.send_task("shop.ledger.close", ("2026-12-25",), queue="focus")
    browser.soon(lambda: len(waiting(browser)) == 2)
    assert browser.run("return document.activeElement.closest('tr') !== null")


def test_a_page_that_is_not_live_stays(browser, shop):
    browser.look(live=0)
    browser.open("tasks?q=queue:still")
    shop.send_task("shop.ledger.close", ("2026-12-24",), queue="still")
    browser.driver.execute_async_script("setTimeout(arguments[0], 1500)")
    assert waiting(browser) == []
    browser.open("tasks?q=queue:still")
    assert len(waiting(browser)) == 1


def test_times_are_in_the_chosen_zone(browser):
    browser.look()
    browser.driver.add_cookie({"name": "liteq_look", "value": "~Asia/Tokyo~0", "path": "/ops/"})
    browser.open("tasks")
    assert "JST" in browser.one("tbody time").get_attribute("title")
    assert browser.run("return document.querySelector('select[name=zone]').value") == "Asia/Tokyo"


def test_charts_are_drawn_by_the_script_and_have_a_table(browser):
    browser.look()
    browser.open("")
    assert len(browser.all("figure.chart")) == 4
    browser.soon(lambda: browser.all("figure.chart canvas"))
    browser.one("figure.chart summary").click()
    assert browser.one("figure.chart table").is_displayed()


def test_without_javascript_every_link_and_form_works(without_javascript, shop):
    page = without_javascript
    page.driver.get(f"{page.base}/")
    assert "ledger" in page.text("#part-verdict")
    assert len(page.all("figure.chart svg")) == 4
    page.driver.get(f"{page.base}/tasks")
    page.one("#q").send_keys("state:dead\n")
    page.soon(lambda: "q=state" in page.driver.current_url)
    page.one("tbody td a.id").click()
    page.soon(lambda: "It failed" in page.text("#part-why"))
    page.driver.get(f"{page.base}/schedules/newsletter/run")
    page.one("main form button").click()
    page.soon(lambda: "was sent" in page.text())
    page.one("#view-menu summary").click()
    page.one("#view-menu option[value=dark]").click()
    page.one("#view-menu button").click()
    page.soon(lambda: page.one("html").get_attribute("data-theme") == "dark")
