"""One answer to each question that a person or a monitor asks of the queue."""

from __future__ import annotations
