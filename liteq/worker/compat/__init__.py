"""The parts of a worker that exist only for programs written for Celery. The package's face alone imports them."""

from __future__ import annotations
