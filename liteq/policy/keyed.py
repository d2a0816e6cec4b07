"""The limits of a task, as its options spell them out: what each of its messages is counted by, and how far it may go.

max_concurrency, global_rate_limit    of the task as a whole: the limit task:NAME
... with concurrency_key, rate_key    of each key apart: the limits task:NAME:KEY
limits                                keys that other tasks may have too; their limits are set by `app.limits`
fair_key                              whose turn it is, within queue and priority
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

import orjson

from liteq.policy.keys import Function, Key, KeyNotYet, compile_key
from liteq.policy.rates import per_second

__all__ = ["KEYED", "NOT_YET", "Keyed", "keyed_of", "pattern_of"]

KEYED = ("max_concurrency", "concurrency_key", "global_rate_limit", "rate_key", "limits", "fair_key")
"""The options, as of a task so of a call."""
NOT_YET = "[null]"
"""The keys of a message that are made when a worker first meets it: the arguments are not all there before."""
RESERVED = ("task:", "queue:", "fair:", "own:", "begun:")

Spec = str | Callable[..., str | None]
Limits = dict[str, tuple[str | None, int | None]]
"""(rate, how many at once) by key."""


class Keyed:
    """The options of one task, or one call: they make the keys of its messages.

    `declared`: the limits that they say by themselves. Raises TypeError, ValueError
    for options that are none.
    """

    __slots__ = ("_fair", "_limited", "_makers", "declared", "has_keys", "is_late", "name", "what")

    def __init__(
        self, name: str, signature: inspect.Signature | None, given: Mapping[str, Any], what: str,
        sensitive: bool | str | Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name, self.what = name, what
        at_once = _checked_most(given.get("max_concurrency"), what)
        rate = _checked_rate(given.get("global_rate_limit"), what)
        keys = {option: given.get(option) for option in ("concurrency_key", "rate_key")}
        _check_apart(keys["concurrency_key"], keys["rate_key"], what)
        self._makers: list[tuple[str, Key]] = []
        self._limited: list[tuple[Key, tuple[str | None, int | None]]] = []
        for option, spec in keys.items():
            key = compile_key(spec, signature, what=f"{what}: {option}")
            if key is not None:
                self._limited.append((key, (rate, None) if option == "rate_key" else (None, at_once)))
            if key is not None and not (option == "rate_key" and spec == keys["concurrency_key"]):
                self._makers.append((f"task:{name}:", key))
        for spec in _listed(given.get("limits"), what):
            key = compile_key(spec, signature, what=f"{what}: limits")
            assert key is not None, "none of the list is None"
            self._makers.append(("", key))
        self._fair = compile_key(given.get("fair_key"), signature, what=f"{what}: fair_key")
        self.has_keys = bool(self._makers) or self._fair is not None
        makers = [key for _, key in self._makers] + ([] if self._fair is None else [self._fair])
        _check_open(makers, sensitive, what)
        self.is_late = any(not isinstance(key, Function) for key in makers)
        """Whether a worker can make keys of a message without them: of templates, as it runs no code for that."""
        self.declared = _joined(
            [
                (pattern_of(name, keys["rate_key"]), (rate, None)),
                (pattern_of(name, keys["concurrency_key"]), (None, at_once)),
            ]
        )

    def keys_of(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, functions: bool = True) -> str | None:
        """`Message.keys` of a call; None where it has none.

        `functions`: whether keys that are functions are called; else they are no keys. Raises KeyNotYet where arguments
        are LATER or missing, TypeError and ValueError for those that make no key, and what a function raises.
        """
        fair = None if self._fair is None or not _may(self._fair, functions) else self._fair(args, kwargs)
        keys: list[str | None] = [fair]
        for prefix, make in self._makers:
            if _may(make, functions) and (key := make(args, kwargs)) is not None:
                if not prefix and key.startswith(RESERVED):
                    raise ValueError(f"{self.what}: limits: the key {key!r} begins with a word of liteq's own")
                key = prefix + key
                if key not in keys[1:]:
                    keys.append(key)
        return orjson.dumps(keys).decode() if len(keys) > 1 or fair is not None else None

    def exactly(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Limits:
        """The limits that it says, of the keys of one call alone. Raises as `keys_of`."""
        made = [(key(args, kwargs), limit) for key, limit in self._limited]
        return _joined([(f"task:{self.name}:{key}", limit) for key, limit in made if key is not None])

    def keys_or_later(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """As `keys_of`; NOT_YET where an argument is not there, or is missing."""
        try:
            return self.keys_of(args, kwargs)
        except KeyNotYet:
            return NOT_YET


def keyed_of(
    name: str, given: Mapping[str, Any], signature: Callable[[], inspect.Signature | None], what: str,
    sensitive: bool | str | Sequence[str] = (),
) -> Keyed | None:  # fmt: skip
    """The Keyed of options; None where they say nothing. `signature` is asked for only where they do.

    `sensitive`: parameters that no template may name, True for all.
    """
    if given.get("max_concurrency") is None and not any(given.get(option) for option in KEYED):
        return None
    return Keyed(name, signature(), given, what, sensitive)


def pattern_of(name: str, spec: Spec | None) -> str:
    """The key under which a task's limit is declared: with `*` for each field of its template, all of a function's."""
    if spec is None:
        return f"task:{name}"
    if not isinstance(spec, str):
        return f"task:{name}:*"
    parts = Formatter().parse(spec)
    return f"task:{name}:" + "".join(literal + ("" if field is None else "*") for literal, field, _, _ in parts)


def _joined(limits: Sequence[tuple[str, tuple[str | None, int | None]]]) -> Limits:
    found: Limits = {}
    for key, (rate, most) in limits:
        before = found.get(key, (None, None))
        found[key] = (rate or before[0], most or before[1])
    return found


def _may(key: Key, functions: bool) -> bool:
    return functions or not isinstance(key, Function)


def _checked_most(most: Any, what: str) -> int | None:
    if most is None:
        return None
    if isinstance(most, bool) or not isinstance(most, int):
        raise TypeError(f"{what}: max_concurrency is a whole number from 1, not {most!r}")
    if most < 1:
        raise ValueError(f"{what}: max_concurrency is a whole number from 1, not {most!r}; None is no limit")
    return most


def _checked_rate(rate: Any, what: str) -> str | None:
    try:
        return str(rate) if per_second(rate) else None
    except ValueError as exc:
        raise ValueError(f"{what}: global_rate_limit: {exc}") from None


def _check_apart(concurrency: Spec | None, rate: Spec | None, what: str) -> None:
    """Refuse two keys of which one may be the other's: a limit could not tell them apart."""
    if concurrency is None or rate is None or concurrency == rate:
        return
    first, second = pattern_of("", concurrency), pattern_of("", rate)
    if fits(second, first) or fits(first, second):
        raise ValueError(
            f"{what}: concurrency_key and rate_key may make the same key of different calls; begin each with a word of "
            'its own, as "user:{user_id}" and "api:{region}"'
        )


def fits(key: str, pattern: str) -> bool:
    """Whether `pattern` holds for `key`: `*` stands for any text."""
    first, *rest = pattern.split("*")
    if not rest:
        return key == pattern
    *middle, last = rest
    if not key.startswith(first) or len(key) < len(first) + len(last) or not key.endswith(last):
        return False
    at, end = len(first), len(key) - len(last)
    for part in middle:
        at = key.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _check_open(makers: Sequence[Key], sensitive: bool | str | Sequence[str], what: str) -> None:
    """Refuse a template that would show a sensitive argument: keys are listed, logged and drawn."""
    hidden = {sensitive} if isinstance(sensitive, str) else sensitive or ()
    for key in makers:
        shown = sorted(name for name in getattr(key, "names", ()) if hidden is True or name in hidden)
        if shown:
            raise ValueError(
                f"{what}: {shown[0]!r} is sensitive, and people see keys; make the key of another parameter, or by a "
                "function that returns a digest of it"
            )


def _listed(limits: Any, what: str) -> Sequence[Spec]:
    """The keys of the option `limits`: a list, or one alone. Raises TypeError, ValueError."""
    found = (limits,) if isinstance(limits, str) or callable(limits) else limits or ()
    if not isinstance(found, (list, tuple)):
        raise TypeError(f'{what}: limits is a list of keys, as ("stripe", "tenant:{{tenant}}"), not {limits!r}')
    for key in found:
        if isinstance(key, str) and key.startswith(RESERVED):
            raise ValueError(
                f"{what}: limits: {key!r} begins with a word of liteq's own; task:NAME and queue:NAME hold without "
                "being listed, so give a key of your own another word"
            )
        if isinstance(key, str) and "*" in key:
            raise ValueError(
                f'{what}: limits: {key!r} has a *, which is for a limit: app.limits.set("tenant:*", concurrent=2); '
                'list the key of a call, as "tenant:{tenant}"'
            )
        if not isinstance(key, str) and not callable(key):
            raise TypeError(f"{what}: limits: a key is a template or a function of the arguments, not {key!r}")
    return found
