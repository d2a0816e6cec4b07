"""The note in the audit of what a page did."""

from __future__ import annotations

from liteq_dashboard.http import Reader, Request

__all__ = ["note", "requeue_query"]


def note(reader: Reader, request: Request, action: str, target: str, queue: str, reason: str = "") -> None:
    """Note in the audit what the viewer did, and the reason that it gave."""
    from liteq.operating import Actor

    by = Actor(request.viewer.name, "page", (reason or request.posted("reason"))[:1_000])
    reader.app.storage.audit.note(by, action, target, queue=queue)


def requeue_query(root: str) -> str:
    """The search for what failed in a workflow."""
    return f"root:{root} state:dead"
