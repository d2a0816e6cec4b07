"""`kombu.utils.url`: the parts of a broker's URL, and text that may stand in one."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

__all__ = ["maybe_sanitize_url", "parse_url", "safequote", "sanitize_url"]


def safequote(text: Any) -> str:
    """`text` as a part of a URL, its slashes quoted as well."""
    return quote(str(text), safe="")


def parse_url(url: str) -> dict[str, Any]:
    """The parts of a URL by the names of a connection's arguments, and its query's parameters by their own."""
    parts = urlsplit(url)
    return {
        "transport": parts.scheme,
        "hostname": unquote(parts.hostname or "") or None,
        "port": parts.port,
        "userid": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "virtual_host": unquote(parts.path.removeprefix("/")) or None,
        **dict(parse_qsl(parts.query)),
    }


def sanitize_url(url: str, mask: str = "**") -> str:
    """`url`, with `mask` in the place of its password."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    before, _, after = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{before.partition(':')[0]}:{mask}@{after}").geturl()


def maybe_sanitize_url(url: Any, mask: str = "**") -> Any:
    """As `sanitize_url` for the text of a URL; anything else as it is."""
    return sanitize_url(url, mask) if isinstance(url, str) and "://" in url else url
