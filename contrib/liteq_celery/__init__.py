"""Unmodified Celery applications on liteq: `import liteq_celery.shim` before the application is imported.

Under the shim `celery`, `celery.*` and the few names that applications take from `kombu` and `billiard` are those of
liteq, as far as the real packages are not installed. `liteq -A proj worker` imports it by itself where the environment
says LITEQ_CELERY_SHIM=1; a web process says `import liteq_celery.shim`, pytest `-p liteq_celery.shim`.

What there is: `names.py`. What there is not, and what liteq has in its place: `absent.py`.
"""

from __future__ import annotations
