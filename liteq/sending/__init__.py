"""From a call to rows: a canvas is compiled, checked, announced and enqueued in one transaction."""

from __future__ import annotations
