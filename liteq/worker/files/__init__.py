"""One worker for many files: a seat for each, one loop over all, one pool that they share."""

from __future__ import annotations
