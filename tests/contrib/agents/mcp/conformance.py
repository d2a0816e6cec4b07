"""The protocol's conformance suite against liteq_mcp, by hand: it comes from npm, and wants Node 22 or newer.

    npm install --prefix DIR @modelcontextprotocol/conformance@0.2.0-alpha.12 node@22
    python -m tests.contrib.agents.mcp.conformance DIR

Two servers are looked at: that of `liteq mcp --http`, by the scenarios that need no tool of the suite's own; and one of
the SDK's with `liteq_mcp.Tasks`, which has the tools that the scenarios of the Tasks extension ask for. Exits with 1
when a check fails that is not in EXPECTED.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from liteq import LiteQ
from liteq.testing import start_worker

PROTOCOL = (
    "server-initialize", "server-session-lifecycle", "server-stateless", "ping", "tools-list", "resources-list",
    "prompts-list", "dns-rebinding-protection", "caching", "http-header-validation", "sep-2164-resource-not-found",
    "completion-complete", "input-required-result-unsupported-methods",
)  # fmt: skip
OF_TASKS = (
    "tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal",
    "tasks-request-headers", "tasks-dispatch-and-envelope",
)  # fmt: skip
NOT_TESTABLE = "Not testable"  # the check wants a tool of the suite's own
# It wants a task that ends by an error of JSON-RPC. Those of liteq end by an exception, which is a result with isError.
EXPECTED = frozenset({"sep-2663-tasks-get-status-failed"})


def app_of(folder: str) -> LiteQ:
    """The tasks behind the tools of the suite."""
    app = LiteQ("conformance", broker=f"sqlite:///{folder}/q.db")

    @app.task(name="slow_compute")
    def slow_compute(seconds: float = 1, label: str = "") -> str:
        time.sleep(min(seconds, 5))
        return f"computed {label}"

    @app.task(name="failing_job")
    def failing_job() -> str:
        raise RuntimeError("this job fails")

    return app


def tasks_server(app: LiteQ) -> Any:
    """A server of the SDK's with the tools that the scenarios of the Tasks extension ask for."""
    from mcp.server.mcpserver import MCPServer

    from liteq_mcp import Tasks

    tasks = Tasks(app)
    for name in ("slow_compute", "failing_job"):
        tasks.tool(app.tasks[name])
    server = MCPServer("tasks", extensions=[tasks], log_level="ERROR")

    @server.tool()
    def greet(name: str = "world") -> str:
        return f"Hello, {name}!"

    return server


@contextmanager
def served(server: Any) -> Iterator[str]:
    """The address of an application that is served in a thread."""
    import socket

    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = uvicorn.Server(uvicorn.Config(server, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        running.should_exit = True
        thread.join()


def checks(suite: Path, at: str, scenario: str) -> list[dict[str, Any]]:
    """The checks of one scenario."""
    modules = suite / "node_modules"
    node = modules / ".bin" / "node"
    index = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as kept:
        command = [str(node), str(index), "server", "--url", at, "--scenario", scenario, "-o", kept]
        subprocess.run(command, capture_output=True, check=False, timeout=120)
        found = [json.loads(path.read_text()) for path in Path(kept).rglob("checks.json")]
    return [one for document in found for one in document]


def main(suite: Path) -> int:
    """Run all; 1 where one fails."""
    from liteq_dashboard import Viewer
    from liteq_mcp.http import http_app
    from liteq_mcp.options import Options

    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        app = app_of(folder)
        own = http_app(app, Viewer("conformance", "admin"), Options(), host="127.0.0.1")
        theirs = tasks_server(app).streamable_http_app()
        with start_worker(app, pool="threads", concurrency=8), served(own) as ours, served(theirs) as of_tasks:
            for at, scenarios in ((ours, PROTOCOL), (of_tasks, OF_TASKS)):
                for scenario in scenarios:
                    found = checks(suite, at, scenario)
                    bad = [one for one in found if one["status"] == "FAILURE"]
                    real = [
                        one
                        for one in bad
                        if NOT_TESTABLE not in one.get("errorMessage", "") and one["id"] not in EXPECTED
                    ]
                    failed += len(real) + (not found)
                    passed = sum(one["status"] == "SUCCESS" for one in found)
                    print(f"{scenario}: {passed} of {len(found)} pass, {len(bad) - len(real)} not testable here")
                    for one in real:
                        print(f"  FAILED {one['id']}: {one.get('errorMessage', '')[:300]}")
        app.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[4] / "contrib"))
    sys.exit(main(Path(sys.argv[1])))
