"""Queues: how they are declared, and which of them a message goes to."""

from __future__ import annotations
