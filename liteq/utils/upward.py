"""Every module above its caller that liteq uses, by name: the one table of such names.

A lower floor must not import a higher one, yet `app.worker_main()` is the command line, and a package of contrib/ may
not be installed. Such a module is imported here, when it is first asked for. `tests/unit/test_house_imports.py` forbids
naming a module by a string anywhere else.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from liteq.settings import import_object

__all__ = ["DJANGO_FIXUP", "UPWARD", "upward"]

Key = Literal[
    "beat", "celery_names", "celery_paths", "celery_reasons", "celery_shim", "command_line", "django_project", "flows",
    "log_redirect", "log_setup", "log_tasks", "session", "versions", "worker",
]  # fmt: skip

DJANGO_FIXUP: Final = "liteq_django.fixup:fixup"

UPWARD: dict[Key, str] = {
    "beat": "liteq.beat:Beat",
    "celery_names": "liteq_celery.names:MODULES",
    "celery_paths": "liteq_celery.deep_paths:find",
    "celery_reasons": "liteq_celery.absent:why_not",
    "celery_shim": "liteq_celery.shim",
    "command_line": "liteq.cli:main",
    "django_project": "liteq_django.project:app_of",
    "flows": "liteq_flow.installing:install",
    "log_redirect": "liteq.cli.logs:redirect",
    "log_setup": "liteq.cli.logs:set_up",
    "log_tasks": "liteq.cli.logs:set_up_tasks",
    "session": "liteq.cli.parts.session:Session",
    "versions": "liteq.cli.version:versions",
    "worker": "liteq.worker:Worker",
}


def upward(key: Key) -> Any:
    """The object, or the module, that stands under `key`. Raises ImproperlyConfigured where it is not installed."""
    return import_object(UPWARD[key])
