"""The code of the page "Approve from Slack", run against a real run."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.signals import approval_requested
from liteq.testing import drain
from liteq.workflow import ctx

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "approve-from-slack.md").read_text("utf-8")
SECRET = "s3cret"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names of the page's code; what it would post to Slack is in `posted`."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "slack"}
    for block in re.findall(r"```python\n(.*?)\n```\n", PAGE, re.DOTALL):
        exec(compile(block, "approve-from-slack.md", "exec"), names)
    posted: list[dict[str, Any]] = []
    names["posted"] = posted
    names["post_to_slack"].run = posted.append
    yield names
    approval_requested.disconnect(names["ask"])
    names["app"].close()


def click(value: str, action: str, *, secret: str = SECRET, at: float = 0.0) -> tuple[dict[str, str], bytes]:
    """A click as Slack posts it."""
    payload = {"user": {"username": "ann"}, "actions": [{"action_id": action, "value": value}]}
    body = urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()
    stamp = str(int(time.time() - at))
    signed = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={signed}"}, body


def test_a_click_decides_once_and_only_slack_s_counts(page: dict[str, Any]) -> None:
    app = page["app"]

    @app.workflow(name="shop.refund")
    def refund(amount: int) -> str:
        answer = ctx.approval("Refund", details={"amount": amount})
        return f"{answer.ok} by {answer.by}"

    run = refund.start(120)
    drain(app)
    (document,) = page["posted"]
    assert '"amount": 120' in document["blocks"][0]["text"]["text"]
    value = document["blocks"][1]["elements"][0]["value"]
    clicked = page["clicked"]
    assert clicked(SECRET, *click(value, "yes", secret="other"))[0] == 401
    assert clicked(SECRET, *click(value, "yes", at=600))[0] == 401
    assert clicked(SECRET, {}, b"")[0] == 401
    assert clicked(SECRET, *click(value, "yes")) == (200, "noted")
    status, text = clicked(SECRET, *click(value, "no"))
    assert (status, text != "noted") == (200, True)
    drain(app)
    assert run.result(timeout=60) == "True by ann"
