"""The dashboard: pages over a liteq file, mounted in Django, Flask or Starlette, or alone by `liteq dashboard`."""

from __future__ import annotations

from liteq_dashboard.access import RIGHTS, ROLES, Viewer

__all__ = ["RIGHTS", "ROLES", "Viewer"]
