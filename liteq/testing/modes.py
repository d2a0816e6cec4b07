"""The switches of a test session, which the pytest plugin sets (plugin.py)."""

from __future__ import annotations

__all__ = ["records"]

records = False  # `pytest --liteq-record`: tests with a recording execute everything, and write it
