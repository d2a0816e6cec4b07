"""Durations, as tasks name them: the rule itself is also for settings (liteq/utils/durations.py)."""

from __future__ import annotations

from liteq.utils.durations import LONGEST_S, Duration, limit_ms, limit_s, numeric_s, seconds, to_span_ms

__all__ = ["LONGEST_S", "Duration", "limit_ms", "limit_s", "numeric_s", "seconds", "to_span_ms"]
