"""contrib/examples/flask_thumbnails, clicked through in a browser."""

from __future__ import annotations

import json
import math
import urllib.request

import pytest
from PIL import Image
from selenium.webdriver.common.by import By


@pytest.fixture
def pictures(tmp_path) -> list[str]:
    paths = []
    for n, name in enumerate(["hills.jpg", "dusk.png", "reef.webp", "fog.jpg"]):
        picture = Image.new("RGB", (640, 420))
        picture.putdata(
            [
                (
                    int(90 + 90 * math.sin(x / 90 + n)),
                    int(120 + 80 * math.sin(y / 70 + x / 130 + n)),
                    int(150 + 70 * math.cos(y / 60 - n)),
                )
                for y in range(420)
                for x in range(640)
            ]
        )
        picture.save(tmp_path / name)
        paths.append(str(tmp_path / name))
    return paths


def upload(browser, paths: list[str]) -> None:
    browser.find_element(By.ID, "pictures").send_keys("\n".join(paths))
    browser.find_element(By.CSS_SELECTOR, "form button").click()


def rows(browser, state: str = "") -> list:
    return browser.find_elements(By.CSS_SELECTOR, f"#list li[data-state='{state}']" if state else "#list li")


def drawn(browser) -> list[int]:
    """The widths of the thumbnails that the browser has loaded."""
    return browser.execute_script("return [...document.querySelectorAll('.made img')].map(i => i.naturalWidth)")


def test_pictures_become_thumbnails_and_the_page_shows_it(start, browser, soon, shoot, pictures, tmp_path):
    example = start("flask_thumbnails", THUMBNAILS_DATA=str(tmp_path / "data"), THUMBNAILS_PAUSE_S="0.5")
    browser.get(example.url)
    upload(browser, pictures)
    soon(lambda: browser.execute_script("return [...document.querySelectorAll('progress')].some(p => p.value > 0.3)"))
    shoot("flask-at-work")
    soon(lambda: len(rows(browser, "SUCCESS")) == 4)
    soon(lambda: sorted(drawn(browser)) == [64] * 4 + [160] * 4 + [320] * 4)
    shoot("flask")
    with urllib.request.urlopen(f"{example.url}/liteq/status") as answer:
        status = json.load(answer)
    assert status["queues"]["celery"] == {"succeeded": 4}
    assert len(status["workers"]) == 1
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_is_no_picture_is_said_so(start, browser, soon, shoot, tmp_path):
    example = start("flask_thumbnails", THUMBNAILS_DATA=str(tmp_path / "data"), THUMBNAILS_PAUSE_S="0")
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "broken.png").write_text("dear")
    browser.get(example.url)
    upload(browser, [str(tmp_path / "letter.txt")])
    assert "letter.txt" in soon(lambda: browser.find_element(By.ID, "error").text)
    browser.get(example.url)
    upload(browser, [str(tmp_path / "broken.png")])
    (row,) = soon(lambda: rows(browser, "FAILURE"))
    assert "no picture, or a damaged one" in row.text
    shoot("flask-refused")


def test_a_worker_that_is_killed_loses_no_picture(start, browser, soon, pictures, tmp_path):
    example = start("flask_thumbnails", THUMBNAILS_DATA=str(tmp_path / "data"), THUMBNAILS_PAUSE_S="0.3")
    browser.get(example.url)
    upload(browser, pictures)
    for kills in (1, 2):
        soon(lambda: rows(browser, "PROGRESS"))
        example.kill_worker(times=kills)
    soon(lambda: len(rows(browser, "SUCCESS")) == 4)
    made = sorted(path.name for path in (tmp_path / "data" / "thumbnails").glob("[!.]*.jpg"))
    assert len(made) == 12
