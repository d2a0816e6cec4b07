"""Settings from `app.config`: `LITEQ = {...}`, and `CELERY = {...}` as in Flask's documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask

from liteq.exceptions import ImproperlyConfigured
from liteq.settings import read_object

__all__ = ["KEYS", "default_url", "settings_of"]

KEYS = ("CELERY", "LITEQ")  # what stands in both is taken from the second
FILE = "liteq.db"
RELATIVE = re.compile(r"((?:liteq|sqlite(?:\+\w+)?):///)(?!/)(.+)", re.DOTALL)


def settings_of(app: Flask) -> dict[str, Any]:
    """The settings of liteq's that the configuration of `app` holds, by their present names.

    A relative file is in the instance folder, wherever the program was started, as Flask's other extensions have it.
    Raises ImproperlyConfigured for a key that is no mapping.
    """
    found: dict[str, Any] = {}
    for key in KEYS:
        given = app.config.get(key)
        if given is None:
            continue
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured(
                f"app.config[{key!r}] is a dict of settings, such as {{'broker_url': 'sqlite:///tasks.db'}}, "
                f"not {given!r}"
            )
        names = given if key == "CELERY" else {str(name).lower(): value for name, value in given.items()}
        found |= read_object(names)
    url = found.get("broker_url")
    if isinstance(url, str) and (relative := RELATIVE.fullmatch(url)):
        found["broker_url"] = _in_instance_folder(app, relative[2], relative[1])
    return found


def default_url(app: Flask) -> str:
    """Where the queue of `app` lives by default: a file in its instance folder."""
    return _in_instance_folder(app, FILE)


def _in_instance_folder(app: Flask, name: str, scheme: str = "sqlite:///") -> str:
    return f"{scheme}{quote(Path(app.instance_path).as_posix())}/{name}"
