"""Runs of durable workflows; one transaction a method."""

from __future__ import annotations

from liteq.storage.facades.runs.asks import RunAsks
from liteq.storage.facades.runs.reads import RunReads
from liteq.storage.facades.runs.writes import RunWrites

__all__ = ["Runs"]


class Runs(RunWrites, RunAsks, RunReads):
    """Runs: started and executed (runs/writes.py), asked (runs/asks.py), looked at (runs/reads.py)."""
