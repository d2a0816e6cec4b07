"""Examples as people start them, and a real browser: Chromium, headless.

Without a browser these are skipped; with CI=true they fail. Screenshots go to LITEQ_TEST_SCREENSHOTS.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "contrib" / "examples"
NEEDS = {"flask": ("flask", "PIL"), "fastapi": ("fastapi", "uvicorn"), "django": ("django",)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--lang=en", "--window-size=900,760",
)  # fmt: skip

collect_ignore = [
    f"test_example_{name}.py"
    for name, modules in NEEDS.items()
    if not all(importlib.util.find_spec(module) for module in (*modules, "selenium"))
]


class Example:
    """`python run.py` in a process group of its own; what it says is kept."""

    def __init__(self, name: str, env: dict[str, str]) -> None:
        command = [sys.executable, str(EXAMPLES / name / "run.py"), "--port", "0"]
        self._popen = subprocess.Popen(
            command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.said: list[str] = []
        self._heard = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.url = self.waits_to_say(r"(http://127\.0\.0\.1:\d+/)").rstrip("/")
        self._wait_until_it_serves()

    def _listen(self) -> None:
        for line in self._popen.stdout:
            with self._heard:
                self.said.append(line)
                self._heard.notify_all()

    def waits_to_say(self, pattern: str, *, times: int = 1, within_s: float = 60) -> str:
        """The first group of the last of `times` lines that match."""
        found: list[str] = []

        def enough() -> bool:
            found[:] = [match[1] for line in self.said if (match := re.search(pattern, line))]
            return len(found) >= times

        with self._heard:
            assert self._heard.wait_for(enough, within_s), "".join(self.said)
        return found[times - 1]

    def _wait_until_it_serves(self) -> None:
        for _ in range(400):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            assert self._popen.poll() is None, "".join(self.said)
            threading.Event().wait(0.05)
        pytest.fail("".join(self.said))

    def kill_worker(self, times: int = 1) -> None:
        """SIGKILL to the worker, parent and children at once; returns when the next one has been started."""
        os.killpg(int(self.waits_to_say(r"^worker: process (\d+)", times=times)), signal.SIGKILL)
        self.waits_to_say(r"^worker: process (\d+)", times=times + 1)

    def end(self) -> None:
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            code = self._popen.wait(60)
        except subprocess.TimeoutExpired:
            code = None
        for pid in re.findall(r"^\w+: process (\d+)", "".join(self.said), re.MULTILINE):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(pid), signal.SIGKILL)
        if code is None:
            self._popen.kill()
        self._thread.join(60)
        self._popen.stdout.close()
        assert code == 0, "".join(self.said)


@pytest.fixture
def start() -> Iterator[Callable[..., Example]]:
    """`start("flask_thumbnails", SOME="environment")`: an example that runs until the test ends."""
    with contextlib.ExitStack() as running:

        def started(name: str, **env: str) -> Example:
            example = Example(name, env)
            running.callback(example.end)
            return example

        yield started


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A new Chromium with an empty profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        why = "no Chromium here: apt-get install chromium chromium-driver"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    monkeypatch.setenv("HOME", str(tmp_path))  # it writes beside its profile too
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        opened.set_page_load_timeout(30)
        yield opened
    finally:
        opened.quit()


@pytest.fixture
def shoot(browser) -> Callable[[str], None]:
    """`shoot("flask")`: the page as it looks now, as flask.png."""
    folder = Path(os.environ.get("LITEQ_TEST_SCREENSHOTS") or ROOT / ".artefacts" / "screenshots")

    def shot(name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        assert browser.save_screenshot(str(path))
        assert path.stat().st_size > 5_000  # not an empty page

    return shot


@pytest.fixture
def soon(browser) -> Callable[..., object]:
    """`soon(lambda: ...)`: its value, once it is true, within 40 s.

    A question that meets the change from one page to the next fails in more ways than one, and is asked again.
    """
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    def wait(fact: Callable[[], object], within_s: float = 60) -> object:
        waiting = WebDriverWait(browser, within_s, 0.05, ignored_exceptions=[WebDriverException])
        return waiting.until(lambda _: fact())

    return wait
