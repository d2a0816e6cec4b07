"""Flows in an app: the workflow `liteq.flow`, and, in workers with --commands, the step of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from liteq.context import App
from liteq_flow.jobs.job import QUEUES, add_command

__all__ = ["WORKFLOW", "install", "take_commands", "with_commands"]

WORKFLOW = "liteq.flow"


def install(app: App) -> Any:
    """The workflow of flows, among the tasks of `app`."""
    found = app.tasks.get(WORKFLOW)
    if found is not None:
        return found

    async def flow(snapshot: dict[str, Any], name: str, params: dict[str, Any], queue: str) -> dict[str, Any]:
        """Run a flow: its outputs."""
        from liteq_flow.running.body import run_flow

        return await run_flow(app, snapshot, name, params, queue)

    return app.workflow(name=WORKFLOW)(flow)  # type: ignore[attr-defined]


def take_commands(app: App, queues: Sequence[str]) -> list[str]:
    """Let `app` run jobs of flows; `queues`, as a worker is given them, with those of their jobs behind each."""
    install(app)
    add_command(app)
    found = []
    for one in queues:
        name, equals, weight = one.rpartition("=")
        found += [one, f"{name}{QUEUES}={weight}" if equals else f"{weight}{QUEUES}"]
    return found


def with_commands(find: Callable[[], App]) -> Callable[[], App]:
    """`find`, of a process that is started afresh, for one that runs jobs of flows."""
    return partial(_found, find)


def _found(find: Callable[[], App]) -> App:
    app = find()
    take_commands(app, ())
    return app
