"""A command for each of many files: `--db 'tenants/*.db'`. A damaged file is told of, and the others are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import json_text, say
from liteq.cli.parts.session import Session
from liteq.cli.parts.voice import VOICE
from liteq.exceptions import LiteqError, StorageUnavailable
from liteq.storage.engines import is_followed

if TYPE_CHECKING:
    from liteq.app import LiteQ
    from liteq.storage.storage import Storage

__all__ = ["FileSession", "db_option", "each_file", "of_file", "sessions"]


def db_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option --db of a command; `what` it does with these files, for the help."""
    return click.option(
        "--db",
        multiple=True,
        metavar="PATHS",
        help=f"{what} these files, a path or a glob as 'tenants/*.db', not the app's own; may be repeated.",
    )


class FileSession(Session):
    """The session of a command for one file of --db: the same options, and the app with that file."""

    def __init__(self, whole: Session, app: LiteQ, path: str) -> None:
        for name in ("app_name", "broker", "config", "no_color", "quiet", "json", "log_format", "started_in"):
            setattr(self, name, getattr(whole, name))
        self._whole = app
        self.path = path
        self.document: Any = None  # what the command has to say in JSON
        self.__dict__["app"], self._url = app.view_at(path)
        if is_followed(path):
            self.__dict__["app"] = app.view_of(f"{self._url}?mode=ro")

    def look_only(self) -> Storage:
        self.__dict__["app"] = self._whole.view_of(f"{self._url}?mode=ro")
        return self.storage

    def gather(self, document: Any) -> bool:
        self.document = document
        return True

    def note(self, text: str) -> None:
        super().note(f"{self.path}: {text}")


def sessions(session: Session, db: Sequence[str]) -> list[FileSession]:
    """A session for each file that `db` names now. Raises UsageError, ImproperlyConfigured, StorageUnavailable."""
    from liteq.app.files.patterns import Patterns

    if session.broker:
        raise click.UsageError("--db names the files, and -b another one: give one of the two")
    patterns = Patterns(db)
    paths = patterns.find()
    if not paths:
        raise StorageUnavailable(f"--db: there is no queue at {patterns}")
    app = session.app_of_files(paths[0])
    return [FileSession(session, app, path) for path in paths]


def of_file(path: str, text: str) -> str:
    """The error `text` of a file, which it names once: most of the storage's own do."""
    return text if path in text else f"{path}: {text}"


def each_file(session: Session, db: Sequence[str], run: Callable[[FileSession], int]) -> int:
    """Run a command for each file of `db`; the exit code: 1 where a file could not be read, else the highest.

    JSON is {PATH: what the command writes}, with {"error": text} for a file that could not be read.
    """
    documents: dict[str, Any] = {}
    codes = []
    for one in sessions(session, db):
        if not session.json:
            say(f"{one.path}:")
        try:
            codes.append(run(one))
            documents[one.path] = {} if one.document is None else one.document
        except (LiteqError, OSError) as exc:
            codes.append(Exit.FAILED)
            text = " ".join(str(exc).split())
            documents[one.path] = {"error": text}
            if not session.json:
                VOICE.say("error", of_file(one.path, text))
        finally:
            one.app.close()
    if session.json:
        click.echo(json_text(documents))
    return Exit.FAILED if Exit.FAILED in codes else max(codes)
