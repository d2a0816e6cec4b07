"""A parser of PromQL, as far as boards and alert rules go: it refuses what Prometheus would, and lists the metrics.

It stands in for promtool, which no package brings along.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<duration>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)
    |(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    |(?P<name>[a-zA-Z_:$][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],:]))""",
    re.VERBOSE,
)
LEVELS = [("or",), ("and", "unless"), ("==", "!=", "<=", ">=", "<", ">"), ("+", "-"), ("*", "/", "%"), ("^",)]
AGGREGATIONS = {"sum": 1, "min": 1, "max": 1, "avg": 1, "count": 1, "topk": 2, "bottomk": 2, "quantile": 2}
FUNCTIONS = {  # the number of arguments, and whether the last is a range
    "rate": (1, True), "increase": (1, True), "delta": (1, True), "min_over_time": (1, True),
    "max_over_time": (1, True), "predict_linear": (2, True), "histogram_quantile": (2, False), "clamp_min": (2, False),
    "absent": (1, False), "label_values": (2, False),
}  # fmt: skip


class PromQLError(Exception):
    """An expression that Prometheus would not take."""


@dataclass
class Asked:
    """The series that an expression asks for, each with the labels of its matchers; and the labels it groups by."""

    series: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None:
            raise PromQLError(f"no token at {text[at:]!r}")
        found.append((match.lastgroup or "", match[match.lastgroup or 0]))
        at = match.end()
    return found


def parse(text: str) -> Asked:
    """The series that `text` asks for. Raises PromQLError."""
    parser = Parser(tokens(text))
    kind = parser.binary(0)
    if parser.rest:
        raise PromQLError(f"something is left: {parser.rest}")
    if kind == "range":
        raise PromQLError("a range is no result")
    return parser.asked


class Parser:
    def __init__(self, found: list[tuple[str, str]]) -> None:
        self.rest = found
        self.asked = Asked()

    def next(self, *wanted: str) -> str:
        if not self.rest:
            raise PromQLError(f"it ends where {wanted} is missing")
        kind, text = self.rest.pop(0)
        if wanted and text not in wanted and kind not in wanted:
            raise PromQLError(f"{text!r} in place of {wanted}")
        return text

    def sees(self, *texts: str) -> bool:
        return bool(self.rest) and self.rest[0][1] in texts

    def binary(self, level: int) -> str:
        """The kind of what stands here: scalar, vector, range or string."""
        if level == len(LEVELS):
            return self.unary()
        kind = self.binary(level + 1)
        while self.sees(*LEVELS[level]):
            self.next()
            if self.sees("on", "ignoring"):
                self.next()
                self.labels()
            right = self.binary(level + 1)
            if "range" in {kind, right} or "string" in {kind, right}:
                raise PromQLError("an operator takes no range")
            kind = "vector" if "vector" in {kind, right} else "scalar"
        return kind

    def unary(self) -> str:
        if self.sees("-", "+"):
            self.next()
            return self.unary()
        kind, text = self.rest[0] if self.rest else ("", "")
        if kind in {"number", "string"}:
            self.next()
            return "scalar" if kind == "number" else "string"
        if text == "(":
            self.next()
            inner = self.binary(0)
            self.next(")")
            return inner
        name = self.next("name")
        if name in AGGREGATIONS:
            return self.aggregation(name)
        if self.sees("("):
            return self.function(name)
        return self.selector(name)

    def labels(self) -> set[str]:
        self.next("(")
        found = set()
        while not self.sees(")"):
            found.add(self.next("name"))
            if not self.sees(")"):
                self.next(",")
        self.next(")")
        self.asked.grouped |= found
        return found

    def aggregation(self, name: str) -> str:
        if self.sees("by", "without"):
            self.next()
            self.labels()
        kinds = self.arguments()
        if len(kinds) != AGGREGATIONS[name] or kinds[-1] != "vector":
            raise PromQLError(f"{name} of {kinds}")
        if self.sees("by", "without"):
            self.next()
            self.labels()
        return "vector"

    def function(self, name: str) -> str:
        if name not in FUNCTIONS:
            raise PromQLError(f"no function {name}")
        kinds = self.arguments()
        count, takes_range = FUNCTIONS[name]
        if len(kinds) != count or ("range" in kinds) != takes_range:
            raise PromQLError(f"{name} of {kinds}")
        return "vector"

    def arguments(self) -> list[str]:
        self.next("(")
        kinds = [self.binary(0)]
        while self.sees(","):
            self.next()
            kinds.append(self.binary(0))
        self.next(")")
        return kinds

    def selector(self, name: str) -> str:
        names = set()
        if self.sees("{"):
            self.next()
            while not self.sees("}"):
                names.add(self.next("name"))
                self.next("=", "!=", "=~", "!~")
                pattern = self.next("string")[1:-1]
                try:
                    re.compile(pattern)
                except re.error as exc:
                    raise PromQLError(f"{pattern!r} is no pattern: {exc}") from None
                if not self.sees("}"):
                    self.next(",")
            self.next("}")
        self.asked.series.append((name, frozenset(names)))
        if not self.sees("["):
            return "vector"
        self.next()
        self.next("duration", "$__rate_interval")
        self.next("]")
        return "range"
