"""From a lease to its outcome: one execution of one task, in a worker or in the caller's own process."""

from __future__ import annotations
