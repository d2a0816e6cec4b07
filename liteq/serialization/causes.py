"""Failures that are one: a key made of an error document, the same for each failure of the same kind.

The child that ran the task makes it, as only that one knows which code is the app's and which was installed. Numbers
and quoted words go out of the message: they differ from call to call, and may be what nobody is to read.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

from liteq.serialization.errors import ErrorDoc, decode_error
from liteq.utils.records import NamedTuple

__all__ = ["OTHER", "Cause", "cause_of"]

OTHER = "other"  # the id of the cause that takes in those for which there is no room
LONGEST = 200  # characters of a message, and of a frame's file
FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
QUOTED = re.compile(r"(?<!\w)(?:'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`)(?!\w)")
NUMBER = re.compile(
    r"\b(?:0x[0-9a-fA-F]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\b|[-+]?\d[\d.,:_]*(?<!\D)"
)
ASKED = "Retry"  # by the task itself, without an exception of which it would be: no failure
INSTALLED = ("site-packages", "dist-packages")


class Cause(NamedTuple):
    """The kind of a failure: `id` is the same for each of its kind.

    `exception`: its class's name. `frame`: the last one of the app's own code, "app/pay.py:88 charge"; "" for none.
    `message`: without numbers and quoted words.
    """

    id: str
    exception: str
    frame: str
    message: str


def cause_of(task: str, error: bytes) -> Cause | None:
    """The cause of a failure of `task`, from its error document; None where the task asked to be retried.

    The line of the last frame is shown, and is no part of the key: it moves with each change of its file.
    """
    from hashlib import blake2b  # only what fails has a use for it, as for sysconfig

    doc = decode_error(error)
    if doc.type == ASKED:
        return None
    file, line, function = _last_frame(doc)
    message = _words(_said(doc))
    key = repr((task, doc.type_name, file, function, message))
    digest = blake2b(key.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
    frame = f"{file}:{line} {function}" if file else ""
    # Its columns hold text, in which not every engine has a NUL: the outcome could never be stored.
    return Cause(digest, *(part.replace("\0", r"\0") for part in (doc.type, frame, message)))


def _said(doc: ErrorDoc) -> str:
    """The message; of an exception with several arguments, which prints them as a tuple, the first that is a text."""
    several = len(doc.args) > 1 and doc.message.startswith("(")
    return next((arg for arg in doc.args if isinstance(arg, str)), doc.message) if several else doc.message


def _words(message: str) -> str:
    """The first line of `message` without its numbers and its quoted words."""
    line = message.strip().partition("\n")[0][: 4 * LONGEST]
    return NUMBER.sub("#", QUOTED.sub("'*'", line))[:LONGEST]


def _last_frame(doc: ErrorDoc) -> tuple[str, str, str]:
    """The file, line and function where the app's own code was left; empty where none of it was running."""
    for path, line, function in reversed(FRAME.findall(doc.traceback)):
        if not _is_installed(path):
            return _short(path)[-LONGEST:], line, function[:LONGEST]
    return "", "", ""


@cache
def _library() -> tuple[str, ...]:
    """How paths begin of what was installed: the standard library, packages, liteq itself."""
    import sysconfig

    paths = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [path.resolve() for path in paths]
    return ("<frozen ", *(f"{path}{os.sep}" for path in {*paths, Path(__file__).resolve().parents[1]}))


def _is_installed(path: str) -> bool:
    return path.startswith(_library()) or any(name in path for name in INSTALLED)


def _short(path: str) -> str:
    """`path` from the folder on that modules are imported from, so that it is the same on each machine."""
    roots = [f"{Path(root).absolute()}{os.sep}" for root in sys.path]
    inside = [root for root in roots if path.startswith(root)]
    return path[len(max(inside, key=len)) :] if inside else path
