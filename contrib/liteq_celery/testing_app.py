"""`TestApp`: an app over a file of its own, which is gone with it, for `celery.contrib.testing.app`."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liteq.app import LiteQ
from liteq.app.urls import is_of_other_broker

__all__ = ["TestApp"]


def TestApp(  # noqa: N802 - Celery's name
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    set_as_current: bool = False,
    broker: str | None = None,
    **options: Any,
) -> LiteQ:
    """A new app. Another broker's URL, `memory://` say, gives way to a file in a temporary folder."""
    for unused in ("enable_logging", "log"):
        options.pop(unused, None)
    folder = tempfile.mkdtemp(prefix="liteq-test-")
    url = broker if broker and not is_of_other_broker(broker) else f"sqlite:///{Path(folder) / 'queue.db'}"
    app = LiteQ(name or "celery.tests", broker=url, set_as_current=set_as_current, **options)
    weakref.finalize(app, shutil.rmtree, folder, ignore_errors=True)
    own = {key: value for key, value in (config or {}).items() if key not in {"broker_url", "result_backend"}}
    app.conf.update(own)
    return app
