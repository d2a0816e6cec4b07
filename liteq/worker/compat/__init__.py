"""The parts of a worker that only programs written for Celery ask for."""

from __future__ import annotations
