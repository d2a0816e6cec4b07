"""Broker URLs of the SQLite engine."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.records import dataclass

__all__ = ["Location", "parse"]

LIBRARIES = ("apsw", "stdlib")
SCHEMES = {"sqlite": None, "liteq": None, "sqlite+apsw": "apsw", "sqlite+stdlib": "stdlib"}
LONGEST_PATH = 511  # MAX_PATHNAME of SQLite's os_unix.c, less the final zero
DROPPED = dict.fromkeys(map(ord, "\t\r\n"))  # by urlsplit, without a word
EXAMPLE = "write sqlite:///tasks.db (relative) or sqlite:////var/lib/app/tasks.db (absolute)"


@dataclass(frozen=True, slots=True)
class Location:
    """A URL's two facts: the file, absolute, and which SQLite library is to open it."""

    path: str
    library: str


def parse(url: str, library: str | None = None) -> Location:
    """Read `url`; `library` is the settings' choice, a library in the URL wins. Raises ImproperlyConfigured."""
    try:
        parts = urlsplit(url)
        scheme, authority = parts.scheme, parts.netloc
    except ValueError as error:
        raise ImproperlyConfigured(f"broker URL {url!r} cannot be read ({error}): {EXAMPLE}") from error
    if scheme not in SCHEMES:
        raise ImproperlyConfigured(f"broker URL {url!r}: the scheme is none of {', '.join(SCHEMES)}: {EXAMPLE}")
    if ":memory:" in url:
        raise ImproperlyConfigured(
            f"broker URL {url!r}: a queue in memory ends with its process and no worker can see it; use a file "
            "(in tests: one in a temporary folder)"
        )
    if authority:
        raise ImproperlyConfigured(f"broker URL {url!r} names a host {authority!r}, SQLite has none: {EXAMPLE}")
    if "#" in url or url != url.translate(DROPPED):  # urlsplit would leave out what follows, or these
        raise ImproperlyConfigured(f"broker URL {url!r}: write # as %23, a line break as %0A, a tab as %09")
    return Location(_path(url, parts.path), _library(url, parts.query, SCHEMES[scheme] or library))


def _path(url: str, quoted: str) -> str:
    path = unquote(quoted)[1:]  # the slash that ends the (empty) host is no part of the path
    if not path or "\0" in path:
        raise ImproperlyConfigured(f"broker URL {url!r} names no file: {EXAMPLE}")
    windows = re.match(r"/?[A-Za-z]:[/\\]", path)
    if windows and os.name != "nt":
        raise ImproperlyConfigured(f"broker URL {url!r} is a path of Windows, which this system is not: {EXAMPLE}")
    if windows:
        path = path.removeprefix("/")
    path = os.path.abspath(os.path.expanduser(path))  # ~ is the user's folder; a file of that name is ./~
    if os.name == "posix" and len(os.fsencode(path)) > LONGEST_PATH:
        raise ImproperlyConfigured(
            f"broker URL {url!r}: SQLite takes paths of {LONGEST_PATH} bytes at most; put the file into another folder"
        )
    return path


def _library(url: str, query: str, default: str | None) -> str:
    options = dict(parse_qsl(query, keep_blank_values=True))
    library = options.pop("driver", default) or "apsw"
    if options:
        raise ImproperlyConfigured(
            f"broker URL {url!r}: unknown option {min(options)!r}; the only one is driver= (in a name, write ? as %3F)"
        )
    if library not in LIBRARIES:
        raise ImproperlyConfigured(f"SQLite driver {library!r} is unknown: choose one of {', '.join(LIBRARIES)}")
    return library
