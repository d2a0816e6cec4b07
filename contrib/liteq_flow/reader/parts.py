"""The small parts of flows and steps: from what a file says to the model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from liteq.utils.durations import seconds
from liteq_flow.model import Captured, Condition, ContinueOn, Declared, Param, Repeat, Retry, Stream
from liteq_flow.reader.yaml_places import Path, Spot
from liteq_flow.schemas.forms import wrong_pattern
from liteq_flow.values import is_select

__all__ = [
    "Tell", "captured", "check_patterns", "conditions", "continue_on", "declared", "env", "exit_codes", "labels",
    "number_text", "one_param", "repeat", "retry", "seconds_of", "shell_words", "span_s", "stream", "texts",
]  # fmt: skip

Tell = Callable[[Path, str], None]


def texts(value: Any) -> tuple[str, ...]:
    """One text or a list of them."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def seconds_of(value: Any) -> float:
    """Seconds, or text with a unit; "2h30m" and "2d12h" too. Raises ValueError."""
    try:
        return seconds(value)
    except (ValueError, TypeError):
        what = f"{value!r} is no time; write seconds, or a number with a unit: 500ms, 30s, 5m, 2h30m, 1d"
        raise ValueError(what) from None


def span_s(value: Any, path: Path, tell: Tell) -> float | None:
    """As `seconds_of`, where what is wrong is told. 0 is None."""
    try:
        return None if value is None else seconds_of(value) or None
    except ValueError as exc:
        tell(path, str(exc))
        return None


def number_text(spot: Spot) -> str:
    """A scalar as text: a number as it is written, so that 007 stays so."""
    value = spot.value
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else spot.raw


def env(spot: Spot | None) -> tuple[tuple[str, str], ...]:
    """Variables in their order, out of a mapping, or a list of mappings and NAME=value."""
    found: list[tuple[str, str]] = []
    for one in [] if spot is None else spot.value if isinstance(spot.value, list) else [spot]:
        if isinstance(one.value, dict):
            found += [(name, number_text(value)) for name, value in one.value.items()]
        else:
            name, _, value = one.value.partition("=")
            found.append((name, value))
    return tuple(found)


def shell_words(shell: Any, args: Any, path: Path, tell: Tell) -> tuple[str, ...]:
    """The words of a shell: a text is split as a shell would."""
    try:
        words = shlex.split(shell) if isinstance(shell, str) else list(texts(shell))
    except ValueError as exc:
        tell(path, f"{shell!r} cannot be split into words: {exc}")
        words = []
    return (*words, *texts(args))


def exit_codes(value: Any, path: Path, tell: Tell) -> tuple[int, ...]:
    """A number, a text of one, or a list."""
    if value is None:
        return ()
    try:
        return tuple(int(one) for one in (value if isinstance(value, list) else [value]))
    except ValueError:
        tell(path, f"{value!r} is no exit code")
        return ()


def _backoff(value: Any) -> float:
    return 1.0 if value is None or value is False else 2.0 if value is True else float(value)


def retry(value: Any, path: Path, tell: Tell) -> Retry:
    """`retry_policy`: a mapping, or how often."""
    if isinstance(value, int):
        return Retry(limit=value)
    given: Mapping[str, Any] = value or {}
    return Retry(
        limit=_count(given.get("limit", 0)),
        interval_s=_interval(given.get("interval_sec"), (*path, "interval_sec"), tell),
        backoff=_backoff(given.get("backoff")),
        max_interval_s=given.get("max_interval_sec"),
        exit_codes=exit_codes(given.get("exit_code"), (*path, "exit_code"), tell),
    )


def _count(value: Any) -> int | str:
    return int(value) if isinstance(value, (int, float)) or value.isdigit() else value


def _interval(value: Any, path: Path, tell: Tell) -> float | str:
    if isinstance(value, str) and "$" in value:
        return value
    return span_s(value, path, tell) or 0.0


def repeat(value: Mapping[str, Any] | None, path: Path, tell: Tell) -> Repeat | None:
    """`repeat_policy`; `repeat: true` with a condition goes on while it holds, one without `repeat` until it does."""
    if not value or value.get("repeat") is False:
        return None
    codes = exit_codes(value.get("exit_code"), (*path, "exit_code"), tell)
    said, condition = value.get("repeat"), value.get("condition")
    mode: Literal["while", "until"] = "until" if condition is not None and said is None else "while"
    if said in {"while", "until"}:
        mode = said
    if said is not True and condition is None and not codes:
        tell(path, "it never ends, or never begins: add `condition` or `exit_code`, or `repeat: true` with a limit")
    interval = span_s(value.get("interval_sec"), (*path, "interval_sec"), tell)
    return Repeat(
        mode,
        condition,
        None if value.get("expected") is None else _plain(value["expected"]),
        codes,
        interval or 0.0,
        _backoff(value.get("backoff")),
        value.get("max_interval_sec"),
        value.get("limit"),
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def continue_on(value: Any, path: Path, tell: Tell) -> ContinueOn:
    """`continue_on`: a word, words, or a mapping."""
    if isinstance(value, Mapping):
        return ContinueOn(
            bool(value.get("failed")),
            bool(value.get("skipped")),
            exit_codes(value.get("exit_code"), (*path, "exit_code"), tell),
            texts(value.get("output")),
            bool(value.get("mark_success")),
        )
    words = texts(value)
    return ContinueOn("failed" in words, "skipped" in words)


def conditions(value: Any) -> tuple[Condition, ...]:
    """`preconditions`: a command, or a list of commands and conditions."""
    return tuple(
        Condition(one) if isinstance(one, str) else Condition(
            one["condition"],
            None if one.get("expected") is None else _plain(one["expected"]),
            bool(one.get("negate")),
        )
        for one in ([value] if isinstance(value, str) else value or ())
    )  # fmt: skip


def check_patterns(expected: Iterable[str | None], path: Path, tell: Tell) -> None:
    """Tell of each `re:PATTERN` that is none."""
    for index, one in enumerate(expected):
        if one is not None and one.startswith("re:") and (why := wrong_pattern(one[3:])):
            tell((*path, index), why)


def captured(value: Mapping[str, Any], path: Path, tell: Tell, *, of_stdout: bool = False) -> tuple[Captured, ...]:
    """The entries of `output`, or of `stdout.outputs.fields`, where `from` is stdout unless a value is given."""
    found = []
    for name, one in value.items():
        is_source = isinstance(one, Mapping) and ("from" in one or (of_stdout and {"decode", "select"} & one.keys()))
        if not is_source:
            alone = isinstance(one, Mapping) and one.keys() == {"value"}
            found.append(Captured(name, "value", one["value"] if alone else one))
            continue
        decode, select = one.get("decode", "text"), one.get("select")
        source = one.get("from", "stdout")
        at = (*path, name)
        if select is not None and (decode == "text" or not is_select(select)):
            tell((*at, "select"), "`select` is a path such as .a.b[0], into `decode: json` or yaml")
        if (source == "file") != ("path" in one):
            tell(at, "`path` belongs to `from: file`")
        found.append(Captured(name, source, None, one.get("path"), decode, select))
    return tuple(found)


def declared(value: list[Mapping[str, Any]] | None, path: Path, tell: Tell) -> tuple[Declared, ...]:
    """`outputs`."""
    found: dict[str, Declared] = {}
    for index, one in enumerate(value or ()):
        if one["name"] in found:
            tell((*path, index, "name"), f"{one['name']!r} stands twice")
        found[one["name"]] = Declared(one["name"], one.get("type", "string"))
    return tuple(found.values())


def stream(value: Any, path: Path, tell: Tell) -> Stream:
    """`stdout` or `stderr`."""
    if value is None or isinstance(value, str):
        return Stream(path=value)
    outputs = value.get("outputs")
    if outputs is None:
        return Stream(artifact=value.get("artifact"))
    fields = captured(outputs.get("fields") or {}, (*path, "outputs", "fields"), tell, of_stdout=True)
    return Stream(
        artifact=value.get("artifact"), outputs=fields, whole=not fields, decode=outputs.get("decode", "json")
    )


def labels(value: Any) -> tuple[str, ...]:
    """Words: out of a text, a list or a mapping; `key=value` becomes "key:value", as tags are."""
    found: list[str] = []
    for one in value if isinstance(value, list) else [value] if value else []:
        if isinstance(one, Mapping):
            found += [f"{key}:{_plain(text)}" for key, text in one.items()]
        else:
            found += [word.replace("=", ":", 1) for word in str(one).replace(",", " ").split()]
    return tuple(dict.fromkeys(found))


def one_param(name: str, given: Mapping[str, Any]) -> Param:
    """A typed entry of `params`, or a property of its JSON Schema."""
    return Param(
        name=name,
        default=given.get("default"),
        required=bool(given.get("required")),
        type=given.get("type"),
        enum=tuple(given.get("enum") or ()),
        minimum=given.get("minimum"),
        maximum=given.get("maximum"),
        min_length=given.get("min_length", given.get("minLength")),
        max_length=given.get("max_length", given.get("maxLength")),
        pattern=given.get("pattern"),
        description=given.get("description", ""),
    )
