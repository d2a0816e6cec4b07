"""The parts of a request that only programs written for Celery ask for."""

from __future__ import annotations
