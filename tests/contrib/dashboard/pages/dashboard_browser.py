"""A dashboard behind a server, and a browser at it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["Browser", "served"]

ROOT = Path(__file__).resolve().parents[4]


@contextlib.contextmanager
def served(app: Any, *, root_path: str = "/ops") -> Iterator[str]:
    """`app` behind a server on this machine, below `root_path`; its address."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Starlette(routes=[Mount(root_path, app)]), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{root_path}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(60)
        listener.close()


class Browser:
    """A browser at a dashboard: what it shows, and whether anything in it was refused or went wrong."""

    def __init__(self, driver: Any, base: str) -> None:
        self.driver, self.base = driver, base

    def look(self, *, theme: str = "", width: int = 1280, live: int = 0) -> None:
        """Choose a theme and a width."""
        metrics = {"width": width, "height": 860, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(f"{self.base}/queues")
        self.driver.delete_all_cookies()
        self.driver.add_cookie({"name": "liteq_look", "value": f"{theme}~UTC~{live}", "path": "/ops/"})

    def open(self, path: str = "") -> None:
        """Go to a page, and wait until it stands."""
        self.driver.get(f"{self.base}/{path}")
        self.soon(lambda: self.run("return document.readyState") == "complete")

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str = "main") -> str:
        return str(self.one(selector).text)

    def soon(self, fact: Callable[[], Any], within_s: float = 60) -> Any:
        """The value of `fact`, once it is true."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.driver, within_s, 0.05, ignored_exceptions=[WebDriverException])
        return wait.until(lambda _: fact())

    def complaints(self) -> list[str]:
        """The complaints of the browser since the last time: a violation of the policy, an error of a script."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def shoot(self, name: str) -> None:
        """The whole page as `name`.png."""
        folder = Path(os.environ.get("LITEQ_TEST_SCREENSHOTS") or ROOT / ".artefacts" / "screenshots")
        folder.mkdir(parents=True, exist_ok=True)
        width = self.run("return innerWidth")
        height = min(max(self.run("return document.documentElement.scrollHeight"), 400), 3_000)
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        path = folder / f"{name}.png"
        assert self.driver.save_screenshot(str(path))
        assert path.stat().st_size > 5_000  # not an empty page
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "height": 860})
