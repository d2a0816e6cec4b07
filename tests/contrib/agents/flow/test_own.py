"""`module:name` in a flow on a worker without --commands: what belongs to its app, and nothing of any library."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from liteq import LiteQ
from liteq.testing import drain
from liteq_flow.installing import install, take_commands

SHOP = """
import os
import subprocess
from os import getcwd
from liteq import LiteQ

async def think(prompt): return prompt.upper()

class Agent:
    def run(self, prompt): return f"agent: {prompt}"

agent = Agent()
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiteQ]:
    """An app in a module `shop_of_flows`, which imports more than it defines."""
    module = ModuleType("shop_of_flows")
    exec(SHOP, module.__dict__)
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db")
    module.__dict__["app"] = app
    monkeypatch.setitem(sys.modules, module.__name__, module)
    install(app)
    yield app
    app.close()


def ran(app: LiteQ, step: str) -> str:
    """The output of a flow of one step, or how it failed."""
    text = f"steps: [{{id: a, {step}, output: SAID}}]"
    run = app.tasks["liteq.flow"].start({"file": "/x.yaml", "texts": {"/x.yaml": text}}, "x", {}, "celery")
    drain(app)
    return str(run.result(0)["SAID"]) if run.status == "succeeded" else str(run.info().error)


@pytest.mark.parametrize(
    "step",
    [
        "agent: 'subprocess:check_output', with: {prompt: id}",
        "agent: 'os:getcwd'",
        "agent: 'subprocess'",
        "agent: 'liteq.settings:import_object', with: {path: os}",
        "agent: 'shop_of_flows:subprocess.check_output', with: {prompt: id}",
        "agent: 'shop_of_flows:subprocess', with: {prompt: id}",
        "agent: 'shop_of_flows:getcwd'",
        "agent: 'shop_of_flows:LiteQ'",
        "task: 'os:system', with: {command: id}",
    ],
)
def test_nothing_of_a_library_is_called(shop: LiteQ, step: str):
    assert "is not this app's: a worker without --commands loads objects of its app alone" in ran(shop, step)


def test_the_agents_of_the_app_are(shop: LiteQ):
    assert ran(shop, "agent: 'shop_of_flows:think', with: {prompt: hi}") == "HI"
    assert ran(shop, "agent: 'shop_of_flows:agent', with: {prompt: hi}") == "agent: hi"
    assert "is no task" in ran(shop, "task: 'shop_of_flows:think', with: {prompt: hi}")


def test_a_worker_with_commands_may_load_anything(shop: LiteQ):
    take_commands(shop, ())
    assert ran(shop, "agent: 'posixpath:basename', with: {p: /a/b}") == "b"
    assert "'posixpath:nothing' cannot be loaded: posixpath has no 'nothing'" in ran(shop, "agent: 'posixpath:nothing'")
