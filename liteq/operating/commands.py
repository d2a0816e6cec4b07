"""The same act as a `liteq` command: what a person can note down, or do where there is no page."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

__all__ = ["command_of", "command_words", "operation_command"]


# The place of the file is left to -A and LITEQ_APP: a page does not tell a path, nor a URL with a password in it.
def command_of(action: str, id_: str, arguments: Mapping[str, Any]) -> str:
    """`action` on one message as a command for a shell."""
    return " ".join(["liteq", *map(quote, command_words(action, id_, arguments))])


def command_words(action: str, id_: str, arguments: Mapping[str, Any]) -> list[str]:
    """The words of `command_of` behind `liteq`."""
    words = ["act", action, id_]
    for name in ("queue", "priority", "at_ms", "step"):
        value = arguments.get(name)
        if value is not None and action != "resend":
            words += [f"--{name.removesuffix('_ms')}", str(value)]
    if arguments.get("reason"):
        words += ["--reason", str(arguments["reason"])]
    return words


def operation_command(action: str, q: str, arguments: Mapping[str, Any], rate: str, reason: str) -> str:
    """A bulk action as a command for a shell."""
    words = ["operations", "start", action, "--where", q]
    for name in ("queue", "priority", "at_ms", "step"):
        if arguments.get(name) is not None:
            words += [f"--{name.removesuffix('_ms')}", str(arguments[name])]
    words += ["--rate", rate] if rate else []
    words += ["--reason", reason] if reason else []
    return " ".join(["liteq", *map(quote, words)])
