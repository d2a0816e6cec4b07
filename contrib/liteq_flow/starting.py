"""Starting a run of a flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteq.context import App
from liteq_flow.installing import install
from liteq_flow.model import Flow
from liteq_flow.snapshot import Snapshot

__all__ = ["start"]


def start(
    app: App, snapshot: Snapshot, flow: Flow, file: str, params: Mapping[str, Any], *, id: str | None = None,  # noqa: A002
    queue: str | None = None,
) -> Any:  # fmt: skip
    """Start a run of `flow`, a document of the file `file` of `snapshot`, with checked `params`; the run.

    Raises RunConflict where `id` is that of a run of another file, or of other params.
    """
    workflow = install(app).options(
        id=id, queue=queue or flow.queue, tags=(f"flow:{flow.name}", *flow.labels), timeout=flow.timeout_s
    )  # fmt: skip
    commands = queue or flow.queue or app.conf.task_default_queue
    return workflow.start({"file": file, "texts": dict(snapshot.texts)}, flow.name, dict(params), commands)
