"""Commands that only users of Celery's command line look for."""

from __future__ import annotations
