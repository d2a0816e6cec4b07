"""The queue for those that cannot open its file: over HTTP, in any language, from any place."""

from __future__ import annotations

from liteq.edge.gateway import Gateway, gateway

__all__ = ["Gateway", "gateway"]
