"""The queue. In a file of its own, so that views and tasks can both import it."""

from __future__ import annotations

from liteq_flask import LiteQ

__all__ = ["queue"]

queue = LiteQ()
