"""The pictures of the dashboard in docs/howto/dashboard.md, made anew: `python docs/generate/screenshots.py`.

A shop is set to work on a file of its own (shop.py beside this), Chromium opens its pages, and each is photographed.
Needs the extra `dashboard`, selenium, Chromium and chromedriver.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "howto" / "dashboard"
sys.path[:0] = [str(ROOT), str(ROOT / "contrib"), str(Path(__file__).parent)]

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--lang=en", "--disable-dev-shm-usage")
# Name of the picture, page, width, theme. `{dead}` and `{root}`: a task that failed, a group of pictures.
PICTURES = (
    ("overview", "", 1280, "light"),
    ("overview-dark", "", 1280, "dark"),
    ("task", "tasks/{dead}", 1280, "light"),
    ("tasks", "tasks?q=state:dead", 1280, "light"),
    ("failure", "failures/{cause}", 1280, "light"),
    ("workflow", "workflows/{root}", 1280, "dark"),
    ("queues", "queues", 1280, "light"),
    ("schedules", "schedules", 1280, "light"),
    ("phone", "tasks?q=state:dead", 390, "dark"),
)
TALLEST = 1_100


def main() -> None:
    """Make all pictures."""
    import shop

    TARGET.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        shop.at_work(Path(folder), orders=150) as queue,
        _served(queue) as url,
    ):
        names = _names(queue)
        with _browser(Path(folder)) as browser:
            for name, path, width, theme in PICTURES:
                _shoot(browser, url, path.format(**names), width, theme, TARGET / f"{name}.png")
                print(TARGET / f"{name}.png")


def _names(queue: Any) -> dict[str, str]:
    from liteq.monitor.runs.workflow_list import workflows
    from liteq.monitor.tasks.failures import failures
    from liteq.monitor.tasks.tasks import tasks

    roots = (one for one in workflows(queue)["items"] if one["name"] == "shop.images.thumbnail")
    return {
        "dead": tasks(queue, "state:dead task:shop.charge")["items"][0]["id"],
        "cause": failures(queue)["items"][0]["id"],
        "root": next(roots)["id"],
    }


def _shoot(browser: Any, url: str, path: str, width: int, theme: str, target: Path) -> None:
    def size(height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    size(800)
    browser.get(f"{url}/queues")
    browser.add_cookie({"name": "liteq_look", "value": f"{theme}~Europe/Berlin~0", "path": "/"})
    browser.get(f"{url}/{path}")
    drawn = "return !document.querySelector('figure.chart') || !!document.querySelector('figure.chart canvas')"
    for _ in range(100):
        if browser.execute_script(drawn):
            break
        threading.Event().wait(0.05)
    size(min(max(browser.execute_script("return document.documentElement.scrollHeight"), 500), TALLEST))
    browser.save_screenshot(str(target))


@contextlib.contextmanager
def _served(queue: Any) -> Iterator[str]:
    import uvicorn

    from liteq_dashboard import Viewer
    from liteq_dashboard.asgi import asgi_app

    listener = socket.create_server(("127.0.0.1", 0))
    app = asgi_app(queue, lambda _request: Viewer("ann", ["operator", "delete"]))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
        listener.close()


@contextlib.contextmanager
def _browser(folder: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    opened = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield opened
    finally:
        opened.quit()


if __name__ == "__main__":
    main()
