"""Middleware: code of one's own around each call that is sent, and around each execution."""

from __future__ import annotations

from liteq.middleware.base import Call, Execution, Middleware
from liteq.middleware.chain import Middlewares, Through, ThroughAsync

__all__ = ["Call", "Execution", "Middleware", "Middlewares", "Through", "ThroughAsync"]
