"""The replica that `liteq restore` is given: `litestream://s3://bucket/queue?endpoint=...&timestamp=...`."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import unquote, urlsplit

from liteq.exceptions import ImproperlyConfigured
from liteq.settings.schemes import without_password
from liteq.utils.misspelt import nearest
from liteq.utils.records import NamedTuple

__all__ = ["PREFIX", "SCHEMES", "Source", "checked_replica", "source_of"]

PREFIX = "litestream://"
SCHEMES = ("s3", "gs", "abs", "oss", "sftp", "nats", "webdav", "webdavs", "file")  # that Litestream 0.5 knows
TIMESTAMP = "timestamp"
EXAMPLE = "litestream://s3://bucket/queue, litestream://file:///mnt/replica"


class Source(NamedTuple):
    """A replica, by Litestream's own URL, and the moment that is wanted, in RFC 3339; "" for the newest."""

    replica: str
    timestamp: str = ""

    @property
    def shown(self) -> str:
        """The replica, for a person to read."""
        return without_password(self.replica)


def source_of(text: str) -> Source:
    """Read `litestream://REPLICA_URL[?timestamp=]`; the rest of the query is Litestream's own.

    Raises ImproperlyConfigured for what is no URL of a replica, and for no moment.
    """
    head, _, query = text.removeprefix(PREFIX).partition("?")
    timestamp, rest = "", []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name == TIMESTAMP:
            timestamp = _moment(unquote(value))  # a + stands for itself
        elif nearest(name, (TIMESTAMP,)):  # Litestream takes any name: it would restore the newest without a word
            raise ImproperlyConfigured(f"{name}= is no option of a replica, did you mean {TIMESTAMP}=?")
        else:
            rest.append(part)
    return Source(checked_replica(head + ("?" + "&".join(rest) if rest else "")), timestamp)


def checked_replica(url: str) -> str:
    """`url`, when it may be one of Litestream's replicas. Raises ImproperlyConfigured, which says what to write."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        written = f"file://{url}" if url.startswith("/") else "s3://bucket/queue or file:///mnt/replica"
        raise ImproperlyConfigured(f"{url!r} is no URL of a replica: write {written}")
    if scheme not in SCHEMES:
        near = nearest(scheme, SCHEMES)
        meant = f", did you mean {near}://?" if near else ""
        raise ImproperlyConfigured(
            f"{without_password(url)!r}: Litestream has no replicas of the scheme {scheme!r}{meant} "
            f"It has {', '.join(SCHEMES)}"
        )
    if scheme == "file" and not rest.startswith("/"):
        raise ImproperlyConfigured(f"{url!r}: the path of a file replica is absolute, as in file:///mnt/replica")
    if not rest.strip("/") or not (urlsplit(url).netloc or scheme == "file"):
        raise ImproperlyConfigured(f"{without_password(url)!r} names no place: write one as {EXAMPLE}")
    return url


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ImproperlyConfigured(
            f"timestamp={text!r} is no time: write one as timestamp=2026-11-28T22:53:00Z"
        ) from None
    if moment.tzinfo is None:
        raise ImproperlyConfigured(f"timestamp={text} has no time zone: write {text}Z for UTC, or an offset as +01:00")
    return moment.isoformat()
