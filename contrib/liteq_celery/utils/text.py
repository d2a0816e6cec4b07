"""`celery.utils.text` and `kombu.utils.encoding`: text, cut and converted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "abbr",
    "bytes_to_str",
    "ensure_bytes",
    "indent",
    "join",
    "pluralize",
    "safe_repr",
    "safe_str",
    "str_to_bytes",
    "str_to_list",
    "truncate",
]


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """`s`, of which at most `maxlen` characters are left, with `suffix` where some are not."""
    return s if not maxlen or len(s) < maxlen else s[:maxlen].rsplit(" ", 1)[0] + suffix


def abbr(S: str | None, max: int, ellipsis: str | bool = "...") -> str:  # noqa: A002, N803 - Celery's names
    """`S`, with `ellipsis` at its end where it has more than `max` characters."""
    if S is None:
        return "???"
    dots = str(ellipsis or "")
    return S if len(S) <= max else S[: max - len(dots)] + dots


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """`text`, with `suffix` where it is about more than one."""
    return text if n <= 1 else text + suffix


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """`t` with each line moved to the right."""
    return sep.join(" " * indent + line for line in t.split(sep))


def join(lines: Iterable[str | None], sep: str = "\n") -> str:
    """`lines` that are not empty."""
    return sep.join(line for line in lines if line)


def str_to_list(s: Any) -> Any:
    """The names in a text that separates them by commas; all else as it is."""
    return s.split(",") if isinstance(s, str) else s


def str_to_bytes(s: str | bytes) -> bytes:
    """`s` in UTF-8."""
    return s.encode() if isinstance(s, str) else s


def bytes_to_str(s: str | bytes) -> str:
    """The text that `s` is in UTF-8."""
    return s.decode() if isinstance(s, bytes) else s


ensure_bytes = str_to_bytes


def safe_str(s: Any, errors: str = "replace") -> str:
    """`s` as text; never raises for bytes that are none."""
    return s.decode(errors=errors) if isinstance(s, bytes) else str(s)


def safe_repr(o: Any, errors: str = "replace") -> str:  # noqa: ARG001 - kombu's
    """`repr(o)`; where that raises, its class and the error."""
    try:
        return repr(o)
    except Exception as exc:  # noqa: BLE001 - whatever it is
        return f"<Unrepresentable {type(o)!r}: {exc!r}>"
