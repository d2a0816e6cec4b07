"""Broker URLs of the SQLite engine."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import nearest
from liteq.utils.records import dataclass

__all__ = ["Location", "parse"]

LIBRARIES = ("apsw", "stdlib")
SCHEMES = {"sqlite": None, "liteq": None, "sqlite+apsw": "apsw", "sqlite+stdlib": "stdlib"}
OPTIONS = {"driver": LIBRARIES, "mode": ("rw", "ro")}
LONGEST_PATH = 511  # MAX_PATHNAME of SQLite's os_unix.c, less the final zero
DROPPED = dict.fromkeys(map(ord, "\t\r\n"))  # by urlsplit, without a word
EXAMPLE = "write sqlite:///tasks.db (relative) or sqlite:////var/lib/app/tasks.db (absolute)"


@dataclass(frozen=True, slots=True)
class Location:
    """A URL's facts: the file, absolute, which SQLite library is to open it, and whether it is only looked at."""

    path: str
    library: str
    read_only: bool = False


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
    if not url.partition(":")[2].startswith("//"):  # as pathlib leaves it: its first letter would be taken for a slash
        raise ImproperlyConfigured(f"broker URL {url!r} lacks the slashes behind its scheme: {EXAMPLE}")
    if authority:
        raise ImproperlyConfigured(f"broker URL {url!r} names a host {authority!r}, SQLite has none: {EXAMPLE}")
    if "#" in url or url != url.translate(DROPPED):  # urlsplit would leave out what follows, or these
        raise ImproperlyConfigured(f"broker URL {url!r}: write # as %23, a line break as %0A, a tab as %09")
    options = _options(url, parts.query)
    chosen = options.get("driver") or SCHEMES[scheme] or library or "apsw"
    if chosen not in LIBRARIES:  # of the settings
        raise ImproperlyConfigured(f"SQLite driver {chosen!r} is unknown: choose one of {', '.join(LIBRARIES)}")
    return Location(_path(url, parts.path), chosen, options.get("mode") == "ro")


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


def _options(url: str, query: str) -> dict[str, str]:
    """Read the options behind the `?`. Raises ImproperlyConfigured for an option or a value that does not exist."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in OPTIONS:
            near = nearest(name, OPTIONS)
            raise ImproperlyConfigured(
                f"broker URL {url!r}: unknown option {name!r}{f', did you mean {near}=?' if near else ''}; there are "
                f"{' and '.join(f'{one}=' for one in OPTIONS)} (in a name, write ? as %3F)"
            )
        if value not in OPTIONS[name]:
            known = ", ".join(OPTIONS[name])
            raise ImproperlyConfigured(f"broker URL {url!r}: {name}= is one of {known}, not {value!r}")
    return options
