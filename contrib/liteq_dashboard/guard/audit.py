"""A note in the file of what a known viewer was refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from liteq.exceptions import LiteqError
from liteq.storage.operating.audit import Actor
from liteq_dashboard.http import Request

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["audit_refusal"]

logger = logging.getLogger("liteq.dashboard")

LONGEST = 300


def audit_refusal(app: LiteQ, request: Request, why: str) -> None:
    """Note in the audit that the viewer was refused, and why. A file that cannot be written now is logged."""
    by = Actor(request.viewer.name, "api" if request.path.startswith("api/") else "page", why)
    try:
        app.storage.audit.note(by, "refused", f"{request.method} {request.path}"[:LONGEST])
    except LiteqError as exc:
        logger.warning("the refusal of %r is not in the audit: %s", request.viewer.name, exc)
