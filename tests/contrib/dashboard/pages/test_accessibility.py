"""WCAG 2.2 AA as far as a program can tell: axe on every page, in both themes; keys; a phone of 320 pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

AXE = Path(__file__).parent / "axe" / "axe.min.js"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: {type: "tag", values: arguments[0]}, rules: {"target-size": {enabled: true}}})
  .then((found) => found.violations.map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 90))]))
  .then(done)
  .catch((error) => done([["error", [String(error)]]]));
"""


@pytest.fixture(scope="module")
def paths(shop):
    from dashboard_paths import paths

    return paths(shop)


def test_axe_is_the_one_that_was_looked_at():
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == SHA256


@pytest.mark.timeout(300)  # thirty pages
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])  # colours do not depend on the width
def test_no_page_has_a_finding(browser, paths, theme, width):
    browser.look(theme=theme, width=width)
    source = AXE.read_text(encoding="utf-8")
    found = {}
    for name, path in paths.items():
        browser.open(path)
        browser.run(source)
        violations = browser.driver.execute_async_script(RUN, TAGS)
        if violations:
            found[name] = violations
    assert found == {}


def test_axe_finds_what_is_wrong(browser):
    browser.look()
    browser.open("queues")
    browser.run(AXE.read_text(encoding="utf-8"))
    browser.run("document.querySelector('h1').remove(); document.querySelector('label').remove()")
    found = {one[0] for one in browser.driver.execute_async_script(RUN, TAGS)}
    assert {"page-has-heading-one", "label"} & found


def press(browser, keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser.driver).send_keys(keys).perform()


def test_the_keys_are_listed_and_work(browser):
    browser.look()
    browser.open("tasks")
    press(browser, "?")
    browser.soon(lambda: browser.one("#key-list").is_displayed())
    assert "next and previous row" in browser.text("#key-list")
    browser.one("#key-list button").click()
    press(browser, "/")
    assert browser.run("return document.activeElement.id") == "q"
    browser.run("document.activeElement.blur()")
    press(browser, "jjx")
    assert browser.run("return document.querySelectorAll('.tick input:checked').length") == 1
    assert browser.run("return [...document.querySelectorAll('tbody tr')].findIndex(r => r.matches('.here'))") == 1
    press(browser, "gq")
    browser.soon(lambda: browser.driver.current_url.endswith("/queues"))


def test_keys_do_nothing_in_a_field(browser):
    browser.look()
    browser.open("tasks")
    browser.one("#q").send_keys("gq?")
    assert browser.one("#q").get_attribute("value") == "gq?"
    assert browser.all("#key-list") == []


def test_the_first_tab_skips_to_the_content(browser):
    from selenium.webdriver.common.keys import Keys

    browser.look()
    browser.open("queues")
    press(browser, Keys.TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    press(browser, Keys.ENTER)
    browser.soon(lambda: browser.run("return document.activeElement.id") == "main")


def test_focus_is_seen(browser):
    from selenium.webdriver.common.keys import Keys

    browser.look()
    browser.open("queues")
    press(browser, Keys.TAB * 3)
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_at_320_pixels_a_row_is_a_card(browser):
    browser.look(width=320)
    browser.open("tasks")
    assert browser.run("return getComputedStyle(document.querySelector('table.cards tr td')).display") == "flex"
    assert (
        browser.run("return getComputedStyle(document.querySelector('td[data-label]'), '::before').content") != "none"
    )


def test_the_theme_is_chosen_and_kept(browser):
    browser.look()
    browser.open("queues")
    browser.one("#view-menu summary").click()
    browser.one("#view-menu option[value=dark]").click()
    browser.soon(lambda: browser.run("return document.documentElement.dataset.theme") == "dark")
    browser.open("tasks")
    assert browser.run("return document.documentElement.dataset.theme") == "dark"
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"
