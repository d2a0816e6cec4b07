"""The processes that claim and execute: one parent that owns the queue, children that own the user's code."""

from __future__ import annotations

from liteq.worker.worker import Worker

__all__ = ["Worker"]
