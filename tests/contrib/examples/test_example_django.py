"""contrib/examples/django_shop, clicked through in a browser."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

SHOP = Path(__file__).resolve().parents[3] / "contrib" / "examples" / "django_shop"
CHECKOUT = SHOP.parents[2]


@pytest.fixture
def order(browser, soon) -> Callable[..., None]:
    """`order(0)`: place an order for a product; returns when the browser shows the page that answers it."""

    def placed(product: int, *, refused: bool = False) -> None:
        browser.execute_script("window.old = true")
        form = browser.find_elements(By.CSS_SELECTOR, ".goods form")[product]
        if refused:
            form.find_element(By.NAME, "refuse").click()
        form.find_element(By.TAG_NAME, "button").click()
        # The click returns before the old page has gone: what is looked for then would be found on either.
        soon(lambda: browser.execute_script("return !window.old && document.readyState === 'complete'"))

    return placed


def orders(browser, state: str = "") -> list:
    return browser.find_elements(By.CSS_SELECTOR, f"#orders li[data-state='{state}']" if state else "#orders li")


def sent(browser) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, "#orders .sent"))


def mail(tmp_path: Path) -> list[str]:
    """The subjects of the letters that were sent."""
    texts = [path.read_text() for path in (tmp_path / "data" / "mail").glob("*")]
    return sorted(line for text in texts for line in text.splitlines() if line.startswith("Subject:"))


def rows(tmp_path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(tmp_path / "data" / "shop.db")) as database:
        found = database.execute(sql).fetchall()
    database.close()
    return found


def test_orders_are_shipped_when_their_letters_are_sent(start, browser, order, soon, shoot, tmp_path):
    example = start("django_shop", SHOP_DATA=str(tmp_path / "data"), SHOP_PAUSE_S="0.6")
    browser.get(example.url)
    order(0)
    soon(lambda: len(orders(browser)) == 1)
    order(2)
    soon(lambda: 1 <= sent(browser) < 6)
    shoot("django-at-work")
    soon(lambda: len(orders(browser, "shipped")) == 2)
    assert sent(browser) == 6
    shoot("django")
    assert len(mail(tmp_path)) == 6
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_rollback_leaves_neither_order_nor_task(start, browser, order, soon, shoot, tmp_path):
    example = start("django_shop", SHOP_DATA=str(tmp_path / "data"), SHOP_PAUSE_S="0")
    browser.get(example.url)
    order(1, refused=True)
    assert "no task either" in soon(lambda: browser.find_element(By.CSS_SELECTOR, ".message.error")).text
    shoot("django-refused")
    assert rows(tmp_path, "SELECT * FROM orders_order") == []
    assert rows(tmp_path, "SELECT * FROM liteq_messages") == []
    assert mail(tmp_path) == []
    order(3)
    soon(lambda: orders(browser, "shipped"))
    button = browser.find_elements(By.CSS_SELECTOR, ".goods form button")[3]
    assert not button.is_enabled()  # the last one was sold


def test_the_admin_shows_orders_and_tasks(start, browser, order, soon, shoot, tmp_path):
    example = start("django_shop", SHOP_DATA=str(tmp_path / "data"), SHOP_PAUSE_S="0")
    browser.get(example.url)
    order(0)
    soon(lambda: orders(browser, "shipped"))
    browser.get(f"{example.url}/admin/")
    browser.find_element(By.NAME, "username").send_keys("admin")
    browser.find_element(By.NAME, "password").send_keys("admin")
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    soon(lambda: "Task queue" in browser.page_source)
    shoot("django-admin")
    browser.find_element(By.LINK_TEXT, "Tasks").click()
    soon(lambda: browser.page_source.count("orders.tasks.send_letter") >= 3)
    assert "orders.tasks.ship" in browser.page_source
    shoot("django-admin-tasks")


PAGES = ("taskmessage/", "taskmessage/overview/", "deadletter/", "schedule/", "schedule/add/", "worker/")
WIDE = """return [...document.querySelectorAll("html, .liteq-table, .liteq-wide")]
    .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.className || one.tagName)"""


def test_no_page_of_the_admin_is_wider_than_its_window(start, browser, order, soon, shoot, tmp_path):
    example = start("django_shop", SHOP_DATA=str(tmp_path / "data"), SHOP_PAUSE_S="0")
    browser.set_window_size(1200, 900)
    browser.get(example.url)
    order(0)
    soon(lambda: orders(browser, "shipped"))
    browser.get(f"{example.url}/admin/")
    browser.find_element(By.NAME, "username").send_keys("admin")
    browser.find_element(By.NAME, "password").send_keys("admin")
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    soon(lambda: "Task queue" in browser.page_source)
    for path in PAGES:
        browser.get(f"{example.url}/admin/liteq_django/{path}")
        assert browser.find_elements(By.ID, "content-main"), path
        shoot("django-admin-1200-" + path.strip("/").replace("/", "-"))
        assert browser.execute_script(WIDE) == [], path
    names = browser.find_elements(By.CSS_SELECTOR, "#result_list tbody tr")
    assert len(names) == 1  # the worker


def test_a_worker_that_is_killed_loses_no_letter_and_no_parcel(start, browser, order, soon, tmp_path):
    example = start("django_shop", SHOP_DATA=str(tmp_path / "data"), SHOP_PAUSE_S="0.4")
    browser.get(example.url)
    for product in (0, 1, 2):
        order(product)
    for kills in (1, 2):
        soon(lambda at_least=kills: sent(browser) >= at_least)
        example.kill_worker(times=kills)
    soon(lambda: len(orders(browser, "shipped")) == 3)
    assert sent(browser) == 9
    assert len(set(mail(tmp_path))) == 3  # each order's, and none is missing:
    assert len(mail(tmp_path)) >= 9  # at least once


def test_it_needs_no_tasks_of_djangos(tmp_path):
    """Django 5.2 brings none, and the shop does not ask for their backport."""
    code = (
        "import runpy, sys; sys.modules['django.tasks'] = sys.modules['django_tasks'] = None;"
        "sys.argv = ['manage.py', 'check']; runpy.run_path('manage.py', run_name='__main__')"
    )
    env = {**os.environ, "SHOP_DATA": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(SHOP), *sys.path])}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run([sys.executable, "-c", code], cwd=SHOP, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
