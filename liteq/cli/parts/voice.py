"""The words of a command beside its result: lines for people, or objects of the log of a process that logs JSON."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from liteq.utils.text import printable

__all__ = ["VOICE", "Voice", "wants_json"]

LEVELS = {"note": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Voice:
    """The one voice of this process."""

    def __init__(self) -> None:
        self._as_json = False

    def listen(self, *, as_json: bool) -> None:
        """Choose the form of all that is said from now on."""
        if as_json and not self._as_json:
            from liteq.cli.logs import json_from_the_start

            json_from_the_start()
        self._as_json = as_json

    def reset(self) -> None:
        """Speak as to people: a command begins."""
        self._as_json = False

    def say(self, kind: str, text: str) -> None:
        """Say a "note", a "warning" or an "error" on stderr."""
        with suppress(OSError):  # its reader has gone: nothing to end for
            click.echo(self._json(kind, text) if self._as_json else f"liteq: {kind}: {printable(text)}", err=True)

    def say_frames(self, lines: Sequence[str]) -> None:
        """Show where the user's code went wrong: as it is, for a person to read, or in one object."""
        if self._as_json:
            self.say("error", "".join(lines).rstrip())
        else:
            sys.stderr.writelines(lines)

    @staticmethod
    def _json(kind: str, text: str) -> str:
        from liteq.cli.logs import JsonFormatter

        record = logging.LogRecord("liteq.command", LEVELS[kind], "", 0, "%s", (text,), None)
        return JsonFormatter().format(record)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the words of a command line ask for JSON; before they are parsed, as an error in them is said in it."""
    if "--json" in arguments or "-j" in arguments or "--log-format=json" in arguments:
        return True
    if "--log-format" in arguments[:-1]:
        return arguments[arguments.index("--log-format") + 1] == "json"
    return os.environ.get("LITEQ_LOG_FORMAT") == "json" and not any("--log-format" in one for one in arguments)


VOICE = Voice()
