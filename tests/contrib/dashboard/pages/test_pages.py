"""Each page as a person sees it, wide and narrow, light and dark: nothing sticks out, nothing is refused."""

from __future__ import annotations

import pytest

PAGES = (
    "overview", "tasks", "tasks-dead", "tasks-misspelt", "task-dead", "task-runs", "task-waits", "failures", "failure",
    "type", "workflows", "workflow", "approvals", "queues", "queue", "workers", "worker", "worker-stop", "schedules",
    "schedule", "schedule-edit", "operations", "activity", "file",
    "tasks-held", "task-held", "limits", "limit", "limit-set",
    "task-requeue", "task-resend", "queue-purge", "preview", "preview-move", "operation",
)  # fmt: skip
ALLOWED = ("400 (Bad Request)",)  # of a search that is explained


@pytest.fixture(scope="module")
def paths(shop):
    from dashboard_paths import paths

    return paths(shop)


def test_every_page_is_among_them(paths):
    assert set(paths) == set(PAGES)


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390), ("light", 320)])  # no theme moves a box
def test_the_pages(browser, paths, width, theme):
    browser.look(theme=theme, width=width)
    browser.complaints()
    wrong = {}
    for name in PAGES:
        browser.open(paths[name])
        assert browser.text("h1"), name
        too_wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        complaints = [one for one in browser.complaints() if not any(word in one for word in ALLOWED)]
        if too_wide > 0 or complaints:
            wrong[name] = (too_wide, complaints)
        if width != 320:
            browser.shoot(f"dashboard-{name}-{width}-{theme}")
    assert wrong == {}


def test_the_overview_says_how_it_is(browser):
    browser.look()
    browser.open("")
    assert "ledger" in browser.text("#part-verdict")
    assert "running" in browser.text("#part-states")
    assert "shop.report" in browser.text("#part-running")
    assert "CardError" in browser.text("#part-causes")


def test_a_held_task_says_which_limit_and_which_task_has_its_place(browser, paths):
    browser.look()
    browser.open(paths["task-held"])
    assert "1 may run at once, and that place is taken, by shop.sync" in browser.text("#part-why")
    browser.one("#part-limits tbody a").click()
    browser.soon(lambda: "customer:42" in browser.text("h1"))
    assert "shop.sync" in browser.text("#part-holders")
    assert "w1@app-1" in browser.text("#part-holders")
    browser.one("#part-numbers a").click()
    browser.soon(lambda: len(browser.all("#part-items tbody tr")) == 3)


def test_a_task_that_runs_shows_its_bar_and_its_stream(browser, paths):
    browser.look()
    browser.open(paths["task-runs"])
    assert "34 of 120" in browser.text("#part-progress")
    assert browser.all("#part-progress svg.bar")
    assert "shelf 34 of 42: 38 articles" in browser.text("#part-streams")


def test_a_dead_task_says_what_failed_and_hides_the_card(browser, paths):
    browser.look()
    browser.open(paths["task-dead"])
    assert "It failed 3 times" in browser.text("#part-why")
    page = browser.text()
    assert "declined: order" in page
    assert "***" in page
    assert "4111 1111" not in browser.driver.page_source
    assert "raise CardError" in page
    assert "shop.mail.receipt" in page
    assert len(browser.all("#part-attempts tbody tr")) == 3


def test_a_task_that_waits_says_why(browser, paths):
    browser.look()
    browser.open(paths["task-waits"])
    assert "No worker takes from the queue" in browser.text("#part-why")


def test_a_misspelt_search_is_explained(browser, paths):
    browser.look()
    browser.open(paths["tasks-misspelt"])
    assert "state" in browser.text("[role=alert]")


def test_a_search_is_in_the_address(browser):
    browser.look()
    browser.open("tasks")
    browser.one("#q").send_keys("task:shop.ledger.close queue:ledger\n")
    browser.soon(lambda: "q=task" in browser.driver.current_url)
    assert len(browser.all("tbody tr")) == 14


def test_a_schedule_is_paused_and_goes_on(browser, shop):
    browser.look()
    browser.open("schedules/newsletter")
    browser.driver.find_element("link text", "Pause").click()
    browser.soon(lambda: "Pause: newsletter" in browser.text("h1"))
    browser.one("input[name=reason]").send_keys("holidays")
    browser.one("main form button").click()
    browser.soon(lambda: "was paused" in browser.text())
    assert not shop.storage.schedules.find("newsletter").enabled
    browser.driver.find_element("link text", "Resume").click()
    browser.soon(lambda: "Resume: newsletter" in browser.text("h1"))
    browser.one("main form button").click()
    browser.soon(lambda: "was resumed" in browser.text())
    assert shop.storage.schedules.find("newsletter").enabled
    acts = [(one.actor, one.action, one.reason) for one in shop.storage.audit.of_target("newsletter")]
    assert ("ann", "schedule pause", "holidays") in acts


def test_several_schedules_are_paused_at_once(browser, shop):
    browser.look()
    browser.open("schedules")
    for box in browser.all("tbody input[type=checkbox]"):
        box.click()
    browser.one(".tray button[value=pause]").click()
    browser.soon(lambda: "Pause: 3" in browser.text("h1"))
    browser.one("main form button").click()
    browser.soon(lambda: "3 schedules were paused" in browser.text())
    assert {one.enabled for one in shop.storage.schedules.all()} == {False}
    for name in ("newsletter", "thumbnails of the night"):
        shop.schedules.resume(name)


def test_a_schedule_of_the_file_is_edited(browser, shop):
    browser.look()
    browser.open("schedules/newsletter/edit")
    field = browser.one("input[name=times]")
    assert field.get_attribute("value") == "0 7 * * *"
    field.clear()
    field.send_keys("30 8 * * 1")
    browser.one("main form button").click()
    browser.soon(lambda: "was changed" in browser.text())
    assert "30 8 * * 1" in browser.text("h1 + p")
    browser.open("schedules/newsletter/edit")
    browser.one("input[name=times]").clear()
    browser.one("input[name=times]").send_keys("often")
    browser.one("main form button").click()
    browser.soon(lambda: "neither seconds nor the five fields" in browser.text())


def test_a_worker_grows_and_shrinks(browser, shop):
    def slots() -> int:
        (found,) = [one for one in shop.storage.reader.workers() if one.name == "w1@app-1"]
        return found.facts["concurrency"]

    browser.look()
    for action, wanted in (("grow", 5), ("shrink", 4)):
        browser.open(f"workers/w1@app-1/{action}")
        browser.one("main form button").click()
        browser.soon(lambda: "was told" in browser.text())
        browser.soon(lambda wanted=wanted: slots() == wanted)


def test_a_worker_logs_from_another_level_on(browser):
    browser.look()
    browser.open("workers/w1@app-1/log-level")
    browser.one("main form button").click()
    browser.soon(lambda: "was told: Log level" in browser.text())
