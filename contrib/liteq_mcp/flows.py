"""Flows that may be started by name: the files in the folders of the setting `flow_folders`. Never a flow's text."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liteq_mcp.tools import Refused

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["Start", "flow_of", "flows"]

Start = Callable[[str | None], Any]


def flows(app: LiteQ) -> dict[str, Path]:
    """The files by their names without an ending; {} where liteq_flow's library is not installed."""
    folders = app.conf.flow_folders
    if not folders or importlib.util.find_spec("yaml") is None:
        return {}
    found = [path for folder in folders for path in sorted(Path(folder).glob("*.y*ml")) if path.is_file()]
    return {path.stem: path for path in reversed(found) if path.suffix in {".yaml", ".yml"}}


def flow_of(app: LiteQ, path: Path, given: Mapping[str, Any]) -> tuple[str, Start]:
    """The queue of a flow as its file is now, and what starts a run of it. Raises Refused for what is wrong."""
    from liteq_flow.errors import FlowRefused
    from liteq_flow.reader.params import checked
    from liteq_flow.snapshot import take
    from liteq_flow.starting import start

    try:
        snapshot = take(path)
        flow = snapshot.whole.flow
        params = checked(flow, given)
    except FlowRefused as exc:
        raise Refused("; ".join(f"{one.path}: {one.what}" for one in exc.problems)) from exc
    queue = flow.queue or app.conf.task_default_queue
    return queue, lambda id_: start(app, snapshot, flow, snapshot.file, params, id=id_)
