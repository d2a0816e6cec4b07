"""Durations, as workflows name them: the rule itself is also for tasks and settings (liteq/utils/durations.py)."""

from __future__ import annotations

from liteq.policy.durations import Duration, limit_ms, limit_s, seconds, to_span_ms

__all__ = ["Duration", "limit_ms", "limit_s", "seconds", "to_span_ms"]
