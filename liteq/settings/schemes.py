"""The URL schemes that lead to a queue of liteq's: those of the built-in engine, and those of installed ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BUILT_IN", "installed_engines", "is_ours", "known_schemes", "scheme_of", "without_password"]

BUILT_IN = ("sqlite", "liteq")
HIDDEN = "********"
# Up to the last @, as one in a password is easily left unescaped; and the options of libpq that hold a secret.
PASSWORD = re.compile(r"(?<=://)([^:/@]*:).*(?=@)|(?<=[?&])((?:ssl)?password=)[^&]*", re.DOTALL)


def scheme_of(url: str) -> str:
    """The scheme of `url` without the name of a library: "sqlite" of `sqlite+stdlib:///tasks.db`; "" where none is."""
    return url.partition(":")[0].partition("+")[0].lower() if ":" in url else ""


def without_password(url: str) -> str:
    """`url` as it may be shown: stars in the place of a password."""
    return PASSWORD.sub(lambda found: (found[1] or found[2]) + HIDDEN, url)


def installed_engines() -> dict[str, EntryPoint]:
    """The entry points of the group `liteq.engines`, by scheme. Looks through all that is installed: some 10 ms."""
    from importlib.metadata import entry_points  # a built-in engine needs none of it

    return {entry.name: entry for entry in entry_points(group="liteq.engines")}


def known_schemes() -> list[str]:
    """The schemes that have an engine here, the built-in ones first."""
    return [*BUILT_IN, *sorted(installed_engines().keys() - set(BUILT_IN))]


def is_ours(url: str) -> bool:
    """Whether an engine of liteq's takes URLs of this scheme."""
    scheme = scheme_of(url)
    return scheme in BUILT_IN or (bool(scheme) and scheme in installed_engines())
