"""The dashboard's page of a run of a flow: a row for each step, with the log of its message."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from liteq_flow.report import view

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


def test_each_step_has_the_messages_whose_logs_are_its_output(shared: Flows):
    document = shared.run(
        """
        steps:
          - {name: "Is it up? #1", run: echo up}
          - {id: each, run: "echo ${ITEM}", parallel: [a, b]}
          - {id: wait, action: wait.file, with: {path: there, poll_interval: 0.1}}
          - {run: until test -e looked; do sleep 0.02; done; touch there}
          - {id: call, action: dag.run, with: {dag: kid}, retry_policy: 1}
          - {id: gated, run: touch looked, depends: call, preconditions: test -d /}
        ---
        name: kid
        steps: [{id: look, run: "test -e tried || { touch tried; exit 3; }"}]
        """,
        "looked",
    )
    assert document["status"] == "succeeded", document
    told = {one["id"]: len(one["children"]) for one in view(shared.app, document["id"])["steps"]}
    assert told.pop("wait") >= 1
    assert told == {
        "Is it up? #1": 1, "each": 2, "step_4": 1, "call": 0, "call/look": 1, "call#2/look": 1, "gated": 2,
    }  # fmt: skip
