"""YAML with the line of each value: what a file says, as the core schema of YAML 1.2 has it (`yes` is a text)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from liteq_flow.errors import FlowRefused
from liteq_flow.model import Problem

__all__ = ["NOWHERE", "Path", "Spot", "documents", "path_text", "place"]

Path = tuple[str | int, ...]
LONGEST: Final = 1024 * 1024  # bytes of a file
COLLECTIONS: Final = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
NOWHERE: Final = (-1, -1)  # the place of a key that the file does not have
MOST: Final = 100_000  # values, aliases counted each time: a file of ten lines can stand for billions


@dataclass(slots=True)
class Spot:
    """A value and where it stands. `value`: a dict or list of Spots, or None, bool, int, float, str."""

    value: Any
    line: int
    raw: str = ""
    """Of a number: as it is written."""
    said: str | None = None
    """The key under which the file has it, where that is a synonym of the one it has here."""
    key_at: tuple[int, int] = NOWHERE
    """Line and column of that key, from 0."""
    key_line: int = 0

    @property
    def is_collection(self) -> bool:
        return isinstance(self.value, (dict, list))

    @property
    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: one.plain for key, one in self.value.items()}
        return [one.plain for one in self.value] if isinstance(self.value, list) else self.value


class Loader(yaml.SafeLoader):
    """Resolves plain scalars as YAML 1.2 does: no dates, no `yes`, no base 60."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's
    in_plain = False

    def scan_plain(self) -> Any:
        """A text without quotes. PyYAML ends it at a `?` inside `{ }`, YAML 1.2 does not: `{prompt: Go on?}`."""
        self.in_plain = True
        try:
            return super().scan_plain()
        finally:
            self.in_plain = False

    def peek(self, index: int = 0) -> Any:
        """The next character; of a `?` in such a text one that ends nothing."""
        found = super().peek(index)
        return "x" if found == "?" and self.in_plain else found


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     "-+0123456789."),
    ("merge", r"<<", "<"),
):  # fmt: skip
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}",
        re.compile(f"^(?:{pattern})$"),
        [*first.replace("\0", ""), *([""] * ("\0" in first))],
    )


def documents(text: str, file: str) -> list[Spot]:
    """The documents of a file. Raises FlowRefused for what is no YAML, for a key twice, and for what is too large."""
    if len(text) > LONGEST:
        raise FlowRefused(
            [Problem(file, 0, "", f"the file has {len(text):,} characters; a flow has up to {LONGEST:,}")]
        )
    found: list[Spot] = []
    try:
        found.extend(_Reading(file).spot(node, ()) for node in yaml.compose_all(text, Loader=Loader))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        what = " ".join(part for part in (exc.context, exc.problem) if part)
        hint = "; a text that has `: `, a brace or a bracket stands between quotes, or below `|`"
        raise FlowRefused([Problem(file, mark.line + 1 if mark else 0, "", f"not YAML: {what}{hint}")]) from None
    except yaml.YAMLError as exc:
        what = " ".join(str(exc).split())
        line = text[: getattr(exc, "position", 0)].count("\n") + 1
        raise FlowRefused([Problem(file, line, "", f"not YAML: {what}")]) from None
    except RecursionError:
        raise FlowRefused([Problem(file, 0, "", "the file is nested too deeply")]) from None
    return found


class _Reading:
    """One document's nodes into spots."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.inside: set[int] = set()

    def refuse(self, node: yaml.Node, path: Path, what: str) -> FlowRefused:
        return FlowRefused([Problem(self.file, node.start_mark.line + 1, path_text(path), what)])

    def spot(self, node: yaml.Node, path: Path) -> Spot:
        self.count += 1
        if self.count > MOST:
            raise self.refuse(node, path, f"the file stands for more than {MOST:,} values; aliases count each time")
        if id(node) in self.inside:
            raise self.refuse(node, path, "an alias that stands in what it names")
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode) and node.tag not in COLLECTIONS:
            raise self.refuse(node, path, f"the tag {node.tag} is not known here")
        self.inside.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return Spot(self.mapping(node, path), line)
            if isinstance(node, yaml.SequenceNode):
                return Spot([self.spot(one, (*path, index)) for index, one in enumerate(node.value)], line)
        finally:
            self.inside.discard(id(node))
        return Spot(self.scalar(node, path), line, node.value)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Spot]:
        found: dict[str, Spot] = {}
        merged: dict[str, Spot] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for one in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if not isinstance(one, yaml.MappingNode):
                        raise self.refuse(key_node, path, "`<<` takes a mapping")
                    merged = {**self.mapping(one, path), **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.refuse(key_node, path, "a key is a word")
            key = str(key_node.value)
            if key in found:
                first = found[key].key_line
                raise self.refuse(key_node, (*path, key), f"the key {key!r} stands twice; the first is in line {first}")
            spot = self.spot(value_node, (*path, key))
            mark = key_node.start_mark
            spot.key_at, spot.key_line = (mark.line, mark.column), mark.line + 1
            found[key] = spot
        return {**merged, **found} if merged else found

    def scalar(self, node: yaml.Node, path: Path) -> Any:
        text = node.value
        match node.tag.rpartition(":")[2]:
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                if len(text) > 300:
                    raise self.refuse(node, path, "the number is too long; put it between quotes")
                return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
            case "float":
                number = float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".Inf", "inf"))
                if number - number != 0:
                    raise self.refuse(node, path, f"{text} is no number that JSON has")
                return number
            case _:
                raise self.refuse(node, path, f"the tag {node.tag} is not known here")


def place(root: Spot, path: Sequence[str | int]) -> tuple[int, str]:
    """The line of a value (of its key, where it has one), and its path in the words of the file.

    Where the value is not there, the line of what it would be in.
    """
    spot, line, said = root, root.line, []
    for part in path:
        inside = spot.value
        if isinstance(inside, dict) and part in inside:
            spot = inside[part]
            said.append(spot.said or part)
            line = spot.key_line or spot.line
        elif isinstance(inside, list) and isinstance(part, int) and part < len(inside):
            spot = inside[part]
            said.append(part)
            line = spot.line
        else:
            said.append(part)
            break
    return line, path_text(said)


def path_text(path: Sequence[str | int]) -> str:
    """A path as text: "steps[2].retry_policy.limit"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def walk(spot: Spot) -> Iterator[Spot]:
    """The spot and all in it."""
    yield spot
    inside = spot.value.values() if isinstance(spot.value, dict) else spot.value
    if isinstance(spot.value, (dict, list)):
        for one in inside:
            yield from walk(one)
