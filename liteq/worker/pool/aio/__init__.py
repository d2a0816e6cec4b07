"""The asyncio pool: forked children, each with one event loop on which it runs many tasks at once."""

from __future__ import annotations
