"""The ways by which outcomes reach the storage beside the loop's own: one by one, and by a thread."""

from __future__ import annotations
