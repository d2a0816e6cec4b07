"""The pages in a real browser: Chromium, headless, on a file of a shop at work (docs/generate/shop.py).

Without a browser these are skipped; with CI=true they fail. Screenshots go to LITEQ_TEST_SCREENSHOTS.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NEEDS = ("jinja2", "selenium", "starlette", "uvicorn")
collect_ignore_glob = [] if all(importlib.util.find_spec(name) for name in NEEDS) else ["test_*.py"]

ROOT = Path(__file__).resolve().parents[4]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--lang=en", "--window-size=1280,860",
)  # fmt: skip
sys.path += [str(ROOT / "docs" / "generate"), str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The app of a shop, on a file where a worker is at it."""
    import shop

    with shop.at_work(tmp_path_factory.mktemp("shop")) as app:
        yield app


@pytest.fixture(scope="session")
def site(shop: Any) -> Iterator[str]:
    """The dashboard of the shop, seen by one that may do everything."""
    from dashboard_browser import served

    from liteq_dashboard import Viewer
    from liteq_dashboard.asgi import asgi_app

    with served(asgi_app(shop, lambda _request: Viewer("ann", ["admin"]))) as url:
        yield url


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium for all tests, with an empty profile."""
    with _chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def without_javascript(tmp_path: Path, site: str) -> Iterator[Any]:
    """A Chromium that runs no script of a page."""
    from dashboard_browser import Browser

    with _chromium(tmp_path, {"profile.managed_default_content_settings.javascript": 2}) as driver:
        yield Browser(driver, site)


@contextlib.contextmanager
def _chromium(folder: Path, preferences: dict[str, Any] | None = None) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    if binary is None or driver is None:
        why = "no Chromium here: apt-get install chromium chromium-driver"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", preferences or {})
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    # It writes beside its profile too.
    opened = webdriver.Chrome(options=options, service=Service(driver, env={**os.environ, "HOME": str(folder)}))
    try:
        opened.set_page_load_timeout(90)
        opened.set_script_timeout(60)
        yield opened
    finally:
        opened.quit()


@pytest.fixture
def browser(chromium: Any, site: str) -> Any:
    """The browser at the shop's dashboard."""
    from dashboard_browser import Browser

    return Browser(chromium, site)
