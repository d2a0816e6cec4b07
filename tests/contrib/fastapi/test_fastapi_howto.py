"""docs/howto/fastapi.md: its app, served, with a worker."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import httpx

from liteq.testing import start_worker

from .test_fastapi_helpers import served

PAGE = Path(__file__).resolve().parents[3] / "docs" / "howto" / "fastapi.md"


TEXT = PAGE.read_text(encoding="utf-8")
SHOWN = json.loads(re.findall(r"/liteq/health\n(.*)", TEXT)[0])  # what curl prints on the page


def test_each_process_that_imports_the_module_has_its_variable():
    consoles = re.findall(r"^```console\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    starts = [block for block in consoles if " worker" in block or "uvicorn" in block]
    assert len(starts) == 2
    assert all(block.startswith("$ export STATUS_TOKEN=") for block in starts)


def test_the_app_of_the_page_works(monkeypatch):
    code = "".join(re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE))
    monkeypatch.setenv("STATUS_TOKEN", "s3cret")
    bearer = {"Authorization": "Bearer s3cret"}
    shop = types.ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", shop)
    exec(compile(code, str(PAGE), "exec"), shop.__dict__)
    with start_worker(shop.queue), served(shop.app) as url, httpx.Client(base_url=url, timeout=60) as client:
        id_ = client.post("/texts", content="to be or not to be").json()["id"]
        assert client.get(f"/texts/{id_}").json() == 6
        assert client.get(f"/texts/{id_}/events").text.startswith("event: done\n")
        assert client.get("/texts/nobody").status_code == 404
        assert client.get("/liteq/health", headers=bearer).json() == SHOWN
        assert client.get(f"/liteq/tasks/{id_}", headers=bearer).json()["info"] == 6
    shop.queue.close()
