"""The queue's file as a JSON object: its size and its log, the disk, what doctor finds, and the settings."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from liteq._version import __version__
from liteq.context import App
from liteq.context.display import shown_settings
from liteq.monitor.findings import findings
from liteq.utils.text import iso_time

__all__ = ["file"]


def file(app: App) -> dict[str, Any]:
    """The facts about the file, of which none takes longer for a larger one: the integrity check is `liteq doctor`'s.

    `{url, path, size, wal, free, disk_free, durability, sqlite, library, schema, read_only, warnings, checks, settings,
    modified, ...}`; sizes in bytes, secrets hidden. It is for viewers of all queues.
    """
    driver = app.storage.driver
    facts = driver.describe(whole=False)
    pragmas = facts.get("pragmas") or {}
    path = facts.get("path")
    return {
        "version": __version__,
        "url": facts.get("url"),
        "path": path,
        "size": facts.get("size"),
        "wal": facts.get("wal_size"),
        "free": (pragmas.get("freelist_count") or 0) * (pragmas.get("page_size") or 0),
        "disk_free": _disk_free(path),
        "durability": facts.get("durability"),
        "file_system": facts.get("file_system"),
        "library": f"{facts['library']} {facts['library_version']}" if "library" in facts else None,
        "sqlite": facts.get("sqlite_version"),
        "schema": (facts.get("schema") or {}).get("version"),
        "modified": (modified := _modified(path)),
        "modified_iso": iso_time(modified),
        "warnings": facts.get("warnings") or [],
        "checks": [check._asdict() for check in driver.checks(facts)] if facts else [],
        "findings": [one._asdict() for one in findings(app)],
        "settings": {name: repr(value) for name, value in sorted(shown_settings(app).items())},
        "retention": {
            name: app.conf[name]
            for name in ("result_expires", "dead_expires", "workflow_expires", "history_expires", "audit_expires")
        },
    }


def _disk_free(path: str | None) -> int | None:
    try:
        return shutil.disk_usage(Path(path).absolute().parent).free if path else None
    except OSError:
        return None


def _modified(path: str | None) -> int | None:
    """The file's last change, or its log's, in ms since the epoch: by `stat` alone, as opening drops locks."""
    places = [Path(path), Path(f"{path}-wal")] if path else []
    return max((int(place.stat().st_mtime * 1000) for place in places if place.exists()), default=None)
