"""Texts without the secrets that they quote: an error often tells the arguments with which its task was called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from liteq.context.request import Request
from liteq.policy.arguments import REDACTED

__all__ = ["hider", "hider_of"]

LONG = 4  # characters, from which on a secret is hidden inside of a word too
MOST = 1_000  # values of one call that are looked for
DEEPEST = 8


def hider_of(request: Request | None) -> Callable[[str], str] | None:
    """The function that hides, in a text, the sensitive arguments of `request`; None where it has none."""
    task = None if request is None else request._task
    if request is None or not getattr(task, "sensitive", False):
        return None
    return hider((request.args or (), request.kwargs or {}), request._shown())


def hider(whole: Any, shown: Any) -> Callable[[str], str] | None:
    """The function that hides what is in `whole` and, in its place in `shown`, is REDACTED; None where nothing is."""
    secrets = set[str]()
    for secret in _hidden(whole, shown):
        secrets.update(_texts(secret))
        if len(secrets) > MOST:
            break
    if not secrets:
        return None
    longest_first = sorted(secrets, key=len, reverse=True)
    pattern = re.compile("|".join(map(_pattern, longest_first)))
    return lambda text: pattern.sub(REDACTED, text)


def _pattern(secret: str) -> str:
    """Of a short one, a number say, by itself alone: 123 is not hidden in 41234."""
    escaped = re.escape(secret)
    return escaped if len(secret) >= LONG else rf"(?<!\w){escaped}(?!\w)"


def _hidden(whole: Any, shown: Any) -> Iterator[Any]:
    if shown == REDACTED:
        if whole != REDACTED:
            yield whole
    elif isinstance(whole, dict) and isinstance(shown, dict):
        for key, value in whole.items():
            yield from _hidden(value, shown.get(key))
    elif isinstance(whole, (list, tuple)) and isinstance(shown, (list, tuple)):
        for value, as_shown in zip(whole, shown, strict=False):
            yield from _hidden(value, as_shown)


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """A value, and those in it, as an error may quote them."""
    if value is None or isinstance(value, bool) or depth > DEEPEST:
        return
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _texts(one, depth + 1)
    else:
        for text in {str(value), repr(value)[1:-1] if isinstance(value, (str, bytes)) else repr(value)}:
            if text:
                yield text
