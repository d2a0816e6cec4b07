"""Runs of durable workflows; one transaction a method."""

from __future__ import annotations

from liteq.storage.facades.run_asks import RunAsks
from liteq.storage.facades.run_reads import RunReads
from liteq.storage.facades.run_writes import RunWrites

__all__ = ["Runs"]


class Runs(RunWrites, RunAsks, RunReads):
    """Runs: started and executed (run_writes.py), asked (run_asks.py), looked at (run_reads.py)."""
