"""The file that `$LITEQ_OUTPUT_FILE` names: `name=value` lines, or `name<<END` with the lines of a value."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["parse_outputs", "read_outputs"]

LARGEST = 1 << 20
NAME = r"([A-Za-z_][A-Za-z0-9_]*)"
PLAIN = re.compile(NAME + r"=(.*)", re.DOTALL)
LINES = re.compile(NAME + r"<<(\S+)\s*$")


def read_outputs(path: Path, mask: Callable[[str], str]) -> dict[str, str]:
    """The values of an output file. Raises ValueError for one that is too long, or is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    if len(data) > LARGEST:
        raise ValueError(f"the output file has {len(data):,} bytes; {LARGEST:,} is the most")
    return {name: mask(value) for name, value in parse_outputs(data.decode("utf-8", "replace")).items()}


def parse_outputs(text: str) -> dict[str, str]:
    """Its values by name. Raises ValueError, which names the line."""
    found: dict[str, str] = {}
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        if not line.strip():
            continue
        if match := LINES.fullmatch(line):
            name, end = match[1], match[2]
            body = []
            for _, one in lines:
                if one == end:
                    break
                body.append(one)
            else:
                raise ValueError(f"line {number} of the output file: {name}<<{end} has no line {end!r} behind it")
            found[name] = "\n".join(body)
        elif match := PLAIN.fullmatch(line):
            found[match[1]] = match[2].rstrip("\r")
        else:
            raise ValueError(f"line {number} of the output file is not NAME=VALUE: {line!r:.80}")
    return found
