"""The rights of people and programs at a queue, and the roles that bundle them."""

from __future__ import annotations

from typing import Final

__all__ = ["RIGHTS", "ROLES"]

RIGHTS: Final = (
    "view", "payloads", "export", "retry", "cancel", "delete", "pause", "limits", "schedules", "send", "workers",
    "workflows", "approve",
)  # fmt: skip
# `retry`: retry now, requeue, edit and send again, move. `cancel`: terminate too. `delete`: purge too.
ROLES: Final = {
    "viewer": frozenset({"view"}),
    "approver": frozenset({"view", "approve"}),
    "support": frozenset({"view", "payloads", "retry"}),
    "operator": frozenset(RIGHTS) - {"delete", "send"},
    "admin": frozenset(RIGHTS),
}
