"""The parts of the app that only callers written for Celery ask for."""

from __future__ import annotations
