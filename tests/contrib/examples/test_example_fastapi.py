"""contrib/examples/fastapi_reports, clicked through in a browser."""

from __future__ import annotations

import json
import urllib.request

from selenium.webdriver.common.by import By


def order(browser, year: int) -> None:
    field = browser.find_element(By.ID, "year")
    field.clear()
    field.send_keys(str(year))
    browser.find_element(By.CSS_SELECTOR, "form button").click()


def reports(browser, state: str = "") -> list:
    return browser.find_elements(By.CSS_SELECTOR, f"article[data-state='{state}']" if state else "article")


def bars(browser) -> int:
    """How many months are drawn in the first report."""
    script = "return [...document.querySelectorAll('article:first-child .chart span')].filter(b => b.title).length"
    return browser.execute_script(script)


def test_a_report_grows_while_it_is_made(start, browser, soon, shoot, tmp_path):
    example = start("fastapi_reports", REPORTS_DATA=str(tmp_path / "data"), REPORTS_PAUSE_S="0.6")
    browser.get(example.url)
    order(browser, 2024)
    soon(lambda: 4 <= bars(browser) < 12)
    shoot("fastapi-at-work")
    order(browser, 2025)
    soon(lambda: len(reports(browser, "SUCCESS")) == 2)
    assert bars(browser) == 12
    soon(lambda: "CSV file" in reports(browser)[0].text)
    browser.execute_async_script("setTimeout(arguments[0], 400)")  # the bars' transition
    shoot("fastapi")
    link = browser.find_element(By.LINK_TEXT, "CSV file").get_attribute("href")
    with urllib.request.urlopen(link) as answer:
        lines = answer.read().decode().splitlines()
    assert (lines[0], len(lines)) == ("month,total", 13)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_program_waits_for_the_result(start, tmp_path):
    example = start("fastapi_reports", REPORTS_DATA=str(tmp_path / "data"), REPORTS_PAUSE_S="0")
    asked = urllib.request.Request(
        f"{example.url}/reports", b'{"year": 2020}', {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(asked) as answer:
        id_ = json.load(answer)["id"]
    with urllib.request.urlopen(f"{example.url}/reports/{id_}", timeout=60) as answer:
        assert len(json.load(answer)["totals"]) == 12


def test_a_worker_that_is_killed_loses_no_report(start, browser, soon, tmp_path):
    example = start("fastapi_reports", REPORTS_DATA=str(tmp_path / "data"), REPORTS_PAUSE_S="0.2")
    browser.get(example.url)
    order(browser, 2024)
    for kills in (1, 2):
        soon(lambda: bars(browser) >= 2)
        example.kill_worker(times=kills)
    soon(lambda: reports(browser, "SUCCESS"))
    assert bars(browser) == 12
    assert len(list((tmp_path / "data").glob("[!.]*.csv"))) == 1
