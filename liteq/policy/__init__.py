"""Pure decisions: whether to retry and when, how fast to run, which arguments a function takes."""

from __future__ import annotations
