"""The processes that claim and execute: one parent that owns the queue, children that run the tasks."""

from __future__ import annotations

from liteq.worker.compat.worker import Worker

__all__ = ["Worker"]
