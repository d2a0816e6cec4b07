"""The search of lists: `state:dead queue:mail task:shop.* -task:heartbeat error:CardError since:1h args.0:77 "words"`.

One grammar for pages, the API's `q`, the command line's `--where` and the terminal. Several values stand between
commas, `*` and `?` stand for any text. A word that is not known is refused with the nearest one, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from fnmatch import translate
from typing import Final, NoReturn

from liteq.clock import from_ms, to_ms
from liteq.exceptions import LiteqError
from liteq.states import State
from liteq.utils.durations import seconds
from liteq.utils.misspelt import nearest
from liteq.utils.records import NamedTuple, dataclass

__all__ = ["KEYS", "Argument", "BadSearch", "Bound", "Search", "Texts", "parse", "quoted", "texts_of"]

KEYS: Final = (
    "state", "queue", "task", "error", "worker", "since", "until", "run", "wait", "retries", "tag", "root", "cause",
    "limit", "priority", "args.0", "kwargs.NAME",
)  # fmt: skip
LONGEST: Final = 2_000  # characters of a search
MOST_VALUES: Final = 100
_TOKEN: Final = re.compile(r'\s*((?:[^\s"]|"(?:[^"\\]|\\.)*")+)')
_KEY: Final = re.compile(r"(-?)([A-Za-z_][\w.-]*):(.*)", re.DOTALL)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BOUND: Final = re.compile(r"(>=|<=|>|<|=)?\s*(.+)", re.DOTALL)
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


class BadSearch(LiteqError, ValueError):
    """Raised for a search that cannot be read, or asks for what its viewer may not see; the message says what to do."""


class Texts(NamedTuple):
    """Values, one of which a text has to be: whole, or as globs."""

    values: frozenset[str]
    globs: tuple[re.Pattern[str], ...]

    def fits(self, text: str | None) -> bool:
        return text is not None and (text in self.values or any(one.match(text) for one in self.globs))


class Bound(NamedTuple):
    """A comparison with a number: `sign` is one of = > >= < <=."""

    sign: str
    value: float

    def fits(self, n: float | None) -> bool:
        if n is None:
            return False
        match self.sign:
            case ">":
                return n > self.value
            case ">=":
                return n >= self.value
            case "<":
                return n < self.value
            case "<=":
                return n <= self.value
            case _:
                return n == self.value


class Argument(NamedTuple):
    """A value among the arguments: `path` is ("args", "0"), ("kwargs", "user", "id")."""

    path: tuple[str, ...]
    texts: Texts


@dataclass(frozen=True)
class Search:
    """A search that was read. `run` and `wait` are in ms, `since_ms` and `until_ms` in ms since the epoch."""

    text: str = ""
    states: tuple[State, ...] = ()
    queue: Texts | None = None
    task: Texts | None = None
    without: Texts | None = None  # tasks
    error: tuple[str, ...] = ()
    worker: Texts | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    run: tuple[Bound, ...] = ()
    wait: tuple[Bound, ...] = ()
    retries: tuple[Bound, ...] = ()
    priority: tuple[Bound, ...] = ()
    tag: tuple[str, ...] = ()
    root: tuple[str, ...] = ()
    cause: tuple[str, ...] = ()
    limit: tuple[str, ...] = ()  # keys that hold it back
    arguments: tuple[Argument, ...] = ()
    words: tuple[str, ...] = ()


def parse(text: str, *, now_ms: int, zone: tzinfo = UTC) -> Search:
    """Read a search. Raises BadSearch with what is wrong, and what was probably meant.

    `zone`: of times of the day. A span, as in `since:1h`, is counted back from `now_ms`.
    """
    if len(text) > LONGEST:
        raise BadSearch(f"a search has at most {LONGEST:,} characters, not {len(text):,}")
    reading = _Reading(now_ms, zone)
    for token in _tokens(text):
        reading.take(token)
    return Search(text=text.strip(), **reading.found)  # type: ignore[arg-type]


def quoted(name: str) -> str:
    """`name` as a value of a search, whatever is in it: `f"task:{quoted(name)}"`."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadSearch(f"a quotation mark is not closed: {text[at:].strip()[:80]}")
        found.append(match[1])
        at = match.end()
    return found


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda found: re.sub(r"\\(.)", r"\1", found[1]), text)


def _split(text: str) -> list[str]:
    """The values between commas; a comma in quotation marks is a part of its value."""
    parts = re.findall(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+', text)
    return [value for part in parts if (value := _unquoted(part).strip())]


def texts_of(values: Sequence[str]) -> Texts:
    """These values, those with * or ? as globs."""
    plain = [value for value in values if not set("*?[") & set(value)]
    globs = [re.compile(translate(value.replace("[", "[[]"))) for value in values if set("*?[") & set(value)]
    return Texts(frozenset(plain), tuple(globs))


class _Reading:
    """The words of one search, read one after another."""

    def __init__(self, now_ms: int, zone: tzinfo) -> None:
        self._now_ms, self._zone = now_ms, zone
        self.found: dict[str, object] = {}
        self._values: dict[str, list[str]] = {}

    def take(self, token: str) -> None:
        match = None if token.startswith('"') else _KEY.match(token)
        if match is None:
            if len(word := _unquoted(token).lower()):
                self._add("words", word)
            return
        negated, key, rest = match.groups()
        values = _split(rest)
        if not values:
            raise BadSearch(f"a value is missing behind {key}: (as in {_example(key)})")
        if len(values) > MOST_VALUES:
            raise BadSearch(f"{key}: takes {MOST_VALUES} values at most, not {len(values):,}")
        if negated and key != "task":
            raise BadSearch(f"only -task: leaves something out, not -{key}:; write {key}: without the minus")
        name = key.partition(".")[0]
        if name in ("args", "kwargs") and "." in key:
            self._add("arguments", Argument(_path(key), texts_of(values)))
        elif key in _READERS:
            _READERS[key](self, "without" if negated else key, values)
        else:
            _unknown(token, key)

    def _add(self, name: str, *more: object) -> None:
        known = self.found.get(name, ())
        assert isinstance(known, tuple)
        self.found[name] = (*known, *more)

    # -- by key

    def states(self, _key: str, values: list[str]) -> None:
        for value in values:
            try:
                self._add("states", State(value.lower()))
            except ValueError:
                near = nearest(value, list(State))
                hint = f"the nearest is {near}" if near else f"use one of {', '.join(State)}"
                raise BadSearch(f"unknown state {value!r}: {hint}") from None

    def texts(self, key: str, values: list[str]) -> None:
        self._values[key] = [*self._values.get(key, ()), *values]
        self.found[key] = texts_of(self._values[key])

    def plain(self, key: str, values: list[str]) -> None:
        self._add(key, *values)

    def folded(self, key: str, values: list[str]) -> None:
        self._add(key, *[value.lower() for value in values])

    def moment(self, key: str, values: list[str]) -> None:
        if len(values) > 1 or f"{key}_ms" in self.found:
            raise BadSearch(f"{key}: takes one time, not several")
        self.found[f"{key}_ms"] = self._moment_ms(key, values[0])

    def spans(self, key: str, values: list[str]) -> None:
        self._add(key, *[self._bound(key, value, _span_ms) for value in values])

    def numbers(self, key: str, values: list[str]) -> None:
        self._add(key, *[self._bound(key, value, _number) for value in values])

    def _bound(self, key: str, value: str, read: Callable[[str], float | None]) -> Bound:
        match = _BOUND.fullmatch(value)
        n = None if match is None else read(match[2])
        if match is None or n is None:
            raise BadSearch(f"{key}: cannot read {value!r}; write it as in {_example(key)}")
        # A span by itself is a least one: to the millisecond it fits nothing.
        return Bound(match[1] or (">=" if read is _span_ms else "="), n)

    def _moment_ms(self, key: str, value: str) -> int:
        if (ago := _span_ms(value)) is not None:
            return self._now_ms - int(ago)
        if match := _CLOCK.fullmatch(value):
            hour, minute, second = (int(part or 0) for part in match.groups())
            try:
                now = from_ms(self._now_ms).astimezone(self._zone)
                at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
            except ValueError:
                raise BadSearch(f"{key}: {value!r} is no time of the day") from None
            return to_ms((at - timedelta(days=1) if at > now else at).astimezone(UTC))
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise BadSearch(f"{key}: cannot read {value!r}; write it as in {_example(key)}") from None
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=self._zone))


_READERS: Final[dict[str, Callable[[_Reading, str, list[str]], None]]] = {
    "state": _Reading.states,
    **dict.fromkeys(("queue", "task", "worker"), _Reading.texts),
    **dict.fromkeys(("tag", "root", "cause", "limit"), _Reading.plain),
    "error": _Reading.folded,
    **dict.fromkeys(("since", "until"), _Reading.moment),
    **dict.fromkeys(("run", "wait"), _Reading.spans),
    **dict.fromkeys(("retries", "priority"), _Reading.numbers),
}
_EXAMPLES: Final = {
    "state": "state:dead", "queue": "queue:mail", "task": "task:shop.*", "error": "error:CardError",
    "worker": "worker:w2", "since": "since:1h, since:12:00 or since:2026-11-28T12:00", "until": "until:12:00",
    "run": "run:>5s", "wait": "wait:>1m", "retries": "retries:>2", "tag": "tag:tenant:a", "root": "root:ID",
    "cause": "cause:ID", "limit": "limit:user:42", "priority": "priority:>5",
}  # fmt: skip


def _example(key: str) -> str:
    return _EXAMPLES.get(key) or f"{key}:77"


def _path(key: str) -> tuple[str, ...]:
    kind, *rest = key.split(".")
    if not all(rest) or (kind == "args" and not rest[0].isdecimal()):
        raise BadSearch(f"cannot read {key}:; an argument is named by its place or its name: args.0:77, kwargs.user:42")
    return (kind, *rest)


def _unknown(token: str, key: str) -> NoReturn:
    if key in ("args", "kwargs"):
        raise BadSearch(f"{key}: needs to say which argument: args.0:77 or kwargs.user_id:42")
    near = nearest(key, [*_READERS, "args", "kwargs"])
    hint = f"the nearest is {near}:" if near else f"use one of {', '.join(f'{one}:' for one in KEYS)}"
    raise BadSearch(f"unknown word {key}: in {token[:80]!r}; {hint}; text with a colon stands in quotation marks")


def _span_ms(text: str) -> float | None:
    if not text[:1].isdigit() or not text[-1:].isalpha():  # a bare number is none here: it may be a year
        return None
    try:
        return seconds(text) * 1_000
    except ValueError:
        return None


def _number(text: str) -> float | None:
    return int(text) if _NUMBER.fullmatch(text) else None
