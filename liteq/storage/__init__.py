"""The durable part of liteq: the verbs of the queue over a small driver."""

from __future__ import annotations

from liteq.storage.engines import describe_url, open_driver

__all__ = ["describe_url", "open_driver"]
