"""Requests and responses as the pages see them, so that each host framework can route them natively."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from liteq.monitor.access.sight import Sight

if TYPE_CHECKING:
    from liteq import LiteQ
    from liteq_dashboard.access import Viewer

__all__ = ["MOST_ITEMS", "Page", "Reader", "Request", "Response", "Route", "Stream"]


MOST_ITEMS = 1_000  # of a page of a list


@dataclass(frozen=True, slots=True)
class Request:
    """A request after its host has read it: `path` is relative to the dashboard, without a slash in front.

    `base` is the dashboard's own path, as a browser writes it, without a slash at the end. `path_args` are the named
    parts of the route. `headers` have lower-case names.
    """

    method: str
    path: str
    viewer: Viewer
    base: str
    path_args: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, list[str]] = field(default_factory=dict)
    form: Mapping[str, list[str]] = field(default_factory=dict)
    json: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None  # of the other end of the connection
    csrf: str = ""  # hidden fields of the host's own, as safe HTML
    can_stream: bool = False  # an ASGI host: a stream holds no worker
    stamp: str = ""  # of the file, before it was read
    notes: tuple[str, ...] = ()  # sentences that stand over every page
    zone: str = "UTC"  # the app's time zone
    file: str = ""  # the name of the queue's file, without its folders
    leave: str = ""  # the path at which the viewer signs out; "" where the host has its own

    def get(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        found = self.query.get(name)
        return found[-1] if found else default

    def limit(self, default: int = 100) -> int:
        """The parameter `limit`: how many items a page of a list has at most. Raises ValueError outside 1 to 1,000."""
        text = self.get("limit") or str(default)
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= MOST_ITEMS:
            raise ValueError(f"limit is a number from 1 to {MOST_ITEMS:,}")
        return int(text)

    def posted(self, name: str, default: str = "") -> str:
        """The last value of a field of the form."""
        found = self.form.get(name)
        return found[-1] if found else default


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: `body` is bytes, or chunks of them that are sent as they come, each made in whatever thread."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""


@dataclass(frozen=True, slots=True)
class Stream(Response):
    """The answer to a page that wants to be told of changes since a stamp; its host sends them as they come."""

    since: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """The file that a page reads, and the part of it that its viewer may see."""

    app: LiteQ
    sight: Sight


Page = Callable[[Request, Reader], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the route table: `path` has named parts in braces; `right` is the one that the viewer needs."""

    method: str
    path: str
    right: str
    page: Page
