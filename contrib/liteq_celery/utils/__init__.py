"""Small helpers that applications import from `celery.utils.*` and `kombu.utils.*`."""

from __future__ import annotations
