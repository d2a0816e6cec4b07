"""The environment of a job, made where it runs: the worker's, over it what the flow says. Secrets are read here.

What a flow says arrives as a template: `$NAME`, `${NAME}` and a mark for `${env.NAME}` are found in the environment
that there is so far. Values that the run has put in (of a parameter, an output) bear no `$` any more: they stay text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from liteq.workflow import Secret

__all__ = ["LONGEST", "RUNNING", "Environment", "env_mark", "is_mark", "known", "plain", "read_dotenv", "unmarked"]

DOLLAR, OPEN, CLOSE = "\ue000", "\ue001", "\ue002"  # a `$` of a value; around the name of an `${env.NAME}`
MARKS = re.compile(f"[{DOLLAR}{OPEN}{CLOSE}]")
VARIABLE = re.compile(
    r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))|" + OPEN + r"([A-Za-z_][A-Za-z0-9_]*)" + CLOSE
)
MARK = re.compile(OPEN + "[A-Za-z_][A-Za-z0-9_]*" + CLOSE)
LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
RUNNING = "running"  # what a run's commands find in $DAG_RUN_STATUS until it ends
LONGEST = 120 * 1024  # bytes of one variable: Linux starts no program with a longer one


def unmarked(text: str) -> str:
    """A value without the signs that mean something in a template."""
    return MARKS.sub("\ufffd", text)


def plain(text: str) -> str:
    """A value as a part of a template: nothing in it is looked up."""
    return unmarked(text).replace("$", DOLLAR)


def known(template: str, values: Mapping[str, str]) -> str:
    """The text of a template with those variables alone that are in `values`."""
    return VARIABLE.sub(lambda match: values.get(match[1] or match[2] or match[3], ""), template).replace(DOLLAR, "$")


def env_mark(name: str) -> str:
    """The part of a template that stands for `${env.name}`."""
    return f"{OPEN}{name}{CLOSE}"


def is_mark(template: str) -> bool:
    """Whether a template is an `${env.NAME}` alone."""
    return bool(MARK.fullmatch(template))


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a .env file; {} where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None or line.lstrip().startswith("#"):
            continue
        name, value = match[1], match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = re.sub(r"\s+#.*$", "", value)
        found[name] = value
    return found


class Environment:
    """The variables of a job. `secrets`: the values that are masked in what it writes."""

    def __init__(self, inherited: Mapping[str, str] | None = None) -> None:
        self.values: dict[str, str] = dict(os.environ if inherited is None else inherited)
        self.secrets: list[str] = []
        self.left_out: list[str] = []
        """Names of what is too long for a variable."""

    def expand(self, template: str) -> str:
        """A template with what it names. A variable that is not there stays as it is written."""

        def found(match: re.Match[str]) -> str:
            name = match[1] or match[2] or match[3]
            there = self.values.get(name)
            if there is None:
                return "" if match[3] else match[0]
            return there

        return VARIABLE.sub(found, template).replace(DOLLAR, "$")

    def document(self, value: Any) -> Any:
        """`expand` of each text in a document."""
        if isinstance(value, str):
            return self.expand(value)
        if isinstance(value, dict):
            return {key: self.document(one) for key, one in value.items()}
        return [self.document(one) for one in value] if isinstance(value, list) else value

    def add(self, pairs: Iterable[Sequence[str]]) -> None:
        """Set variables, (name, template), in order: a later one may stand on an earlier one."""
        for name, template in pairs:
            value = self.expand(template).replace("\0", "")
            if len(value.encode("utf-8", "surrogateescape")) > LONGEST:
                self.left_out.append(name)
                self.values.pop(name, None)
                continue
            self.values[name] = value

    def reveal(self, secrets: Mapping[str, str]) -> None:
        """Set the variables of secrets, {name: source}. Raises WorkflowError, which names the one that is not there."""
        for name, source in secrets.items():
            self.values[name] = value = Secret(source).reveal()
            self.secrets.append(value)
