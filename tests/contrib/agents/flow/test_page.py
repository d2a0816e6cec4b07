"""The dashboard's page of a run of a flow: a row for each step, with the log of its message."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from .running import Flows

pytest.importorskip("jinja2")
pytestmark = pytest.mark.timeout(240)  # processes that are started on a loaded machine

TEXT = """
steps:
  - {id: build, run: echo built; exit 3, continue_on: failed}
  - {id: never, run: echo never, preconditions: [{condition: a, expected: b}]}
  - {id: ask, depends: build, action: human.task, with: {prompt: "Go?"}}
"""


def page(flows: Flows, path: str) -> str:
    """The words of a page."""
    from liteq_dashboard import Viewer
    from liteq_dashboard.http import Reader, Request
    from liteq_dashboard.routes import Table, answer, routes

    viewer = Viewer("ann", "admin")
    asked = Request(method="GET", path=path, viewer=viewer, base="/ops")
    response: Any = answer(asked, Reader(flows.app, viewer.sight), Table(routes()))
    assert response.status == 200
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", response.body.decode()).split()))


def test_the_page_of_a_run_has_its_steps(shared: Flows):
    file = shared.write(TEXT, "paged")
    run_id = shared.start(file)
    shared.rest(run_id)
    words = page(shared, f"workflows/{run_id}")
    assert "Flow paged" in words
    assert re.search(r"build exit code 3.* failed 1 3 ", words), words
    assert re.search(r"never .*skipped", words)
    assert re.search(r"ask .*waiting", words)
