"""The parts of a canvas that only programs written for Celery ask for."""

from __future__ import annotations
