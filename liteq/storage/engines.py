"""The table of engines: a broker URL's scheme says which one keeps the queue.

SQLite is built in. Another engine is a package with an entry point of the group `liteq.engines`, named as its scheme:

    [project.entry-points."liteq.engines"]
    postgresql = "liteq_postgres:ENGINE"

The scheme is read up to a `+`, behind which an engine may have the name of a client library.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from liteq.exceptions import ImproperlyConfigured
from liteq.settings.schemes import BUILT_IN, installed_engines, known_schemes, scheme_of, without_password
from liteq.storage.driver import Driver, Durability, Engine, Options, Place, Watch
from liteq.utils.misspelt import nearest

__all__ = ["describe_url", "engine_of", "fetching", "is_beside", "is_followed", "open_driver", "watch_folders"]

EXAMPLE = "write sqlite:///tasks.db (relative) or sqlite:////var/lib/app/tasks.db (absolute)"


def engine_of(url: str) -> Engine:
    """The engine for `url`; only that one is imported. Raises ImproperlyConfigured where there is none."""
    scheme = scheme_of(url)
    if scheme in BUILT_IN:  # first: a look at all that is installed takes longer than all the rest of the start
        from liteq.storage.sqlite.engine import ENGINE

        return ENGINE
    found = installed_engines().get(scheme)
    if found is None:
        raise ImproperlyConfigured(_unknown(url, scheme))
    engine: Engine = found.load()
    return engine


def describe_url(url: str, library: str | None = None) -> Place:
    """Where `url` leads; looks, but opens nothing. Raises ImproperlyConfigured for a URL that no engine takes."""
    return engine_of(url).describe_url(url, library)


def open_driver(
    url: str,
    *,
    driver: str | None = None,
    durability: Durability = Durability.DURABLE,
    busy_timeout_s: float = 30.0,
    allow_network_filesystem: bool = False,
    file_mode: int = 0o600,
) -> Driver:
    """The storage engine behind `url`; touches nothing before its first use. `driver`: see `Options.library`.

    Raises ImproperlyConfigured for a URL that no engine takes.
    """
    options = Options(durability, busy_timeout_s, driver, allow_network_filesystem, file_mode)
    return engine_of(url).open(url, options)


def watch_folders() -> Watch:
    """A watch over the folders of many files of the built-in engine."""
    from liteq.storage.sqlite.waking import folders

    return folders.watch_folders()


def is_beside(name: str) -> bool:
    """Whether a file of this name only stands beside one of the built-in engine: its log, a bell, and the like."""
    from liteq.storage.sqlite.waking import folders

    return folders.is_beside(name)


def fetching(path: Path) -> AbstractContextManager[Path]:
    """A new folder beside a file of the built-in engine, gone after the block; it clears those of killed processes."""
    from liteq.storage.sqlite.disk import parts

    return parts.fetching(path)


def is_followed(path: str) -> bool:
    """Whether a file of the built-in engine is a replica that another program writes, and is to be read alone."""
    from liteq.storage.sqlite import copies

    return copies.is_followed(path)


def _unknown(url: str, scheme: str) -> str:
    if scheme == "" or (len(scheme) == 1 and url[2:3] in ("/", "\\")):  # C:\tasks.db
        return f"broker URL {url!r} is a path and no URL: write sqlite:///" + url.replace("\\", "/")
    known = known_schemes()
    near = nearest(scheme, known)
    meant = f"; did you mean {near}:?" if near else ""
    return (
        f"broker URL {without_password(url)!r}: there is no engine for the scheme {scheme!r}{meant}; "
        f"known are {', '.join(known)}. For a file {EXAMPLE}; for another engine install the package that brings it"
    )
