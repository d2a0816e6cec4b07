"""Broker URLs: errors for those that the app cannot take, and the folder in which a relative path begins."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from urllib.parse import quote, unquote, urlsplit

from liteq.exceptions import ImproperlyConfigured
from liteq.settings.schemes import BUILT_IN, is_ours, scheme_of

__all__ = ["check_url", "home_of_caller", "is_of_other_broker", "placed"]

logger = logging.getLogger("liteq.app")

OTHER_BROKERS = frozenset(
    {"redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp", "librabbitmq", "sqs", "memory", "filesystem", "mongodb"}
)


def is_of_other_broker(url: str) -> bool:
    """Whether `url` is one of a broker that Celery knows: redis://, amqp://, memory://, ..."""
    return url.partition("://")[0].partition("+")[0].lower() in OTHER_BROKERS


def check_url(url: str | None) -> str:
    """`url`, when it may be a file's. Raises ImproperlyConfigured, which says what to write."""
    if not url:
        raise ImproperlyConfigured(
            "where does the queue live? LiteQ('name', broker='sqlite:///tasks.db'), or the setting broker_url, or the "
            "environment variable LITEQ_BROKER_URL"
        )
    if is_of_other_broker(url) and not is_ours(url):
        scheme = url.partition("://")[0]
        raise ImproperlyConfigured(
            f"{scheme}:// is another broker's URL: liteq keeps its queue in one file, write "
            "broker='sqlite:///tasks.db' (four slashes for an absolute path)"
        )
    return url


# -- where a relative path begins: docs/adr/0017 ---------------------------------------------------------------------

MARKS = ("pyproject.toml", "manage.py", "setup.py", "setup.cfg", ".git")  # of a project's top folder
INSTALLED = frozenset({"site-packages", "dist-packages"})
FARTHEST = 4  # folders above the one that the program is imported from


def home_of_caller(app: object) -> list[Path]:
    """The folders of the program that is making `app`, the likeliest first; [] where it has none of its own.

    The folder that its modules are imported from, its module's own, and those above up to the project's top. A program
    that was typed in, or is installed, has none.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_of_app(frame, app):
        frame = frame.f_back
    if frame is None:
        return []
    found = frame.f_globals
    file, spec = found.get("__file__"), found.get("__spec__")
    name = str(found.get("__name__", "")) if spec is None else str(spec.name)
    if not isinstance(file, str) or not os.path.isfile(file):  # noqa: PTH113 - at each start: no more than it needs
        return []
    path = Path(file).resolve()
    if not INSTALLED.isdisjoint(path.parts):
        return []
    depth = name.count(".") + (path.name == "__init__.py") if name != "__main__" else 0
    root = path.parents[min(depth, len(path.parents) - 1)]
    return list(dict.fromkeys([root, path.parent, *_up_to_top(root)]))


def _is_of_app(frame: FrameType, app: object) -> bool:
    """Whether `frame` is of liteq's own code, or of the constructor of a class of the program's that `app` has."""
    module = str(frame.f_globals.get("__name__", ""))
    if module.partition(".")[0] in {"liteq", "liteq_flask", "liteq_django", "liteq_fastapi", "liteq_celery"}:
        return True
    return frame.f_code.co_name == "__init__" and any(value is app for value in frame.f_locals.values())


def _up_to_top(root: Path) -> Iterator[Path]:
    """The folders from `root` up to the project's top, where that is near; none where nothing marks it."""
    above = [root, *root.parents][: FARTHEST + 1]
    top = next((n for n, folder in enumerate(above) if any(_exists(folder / mark) for mark in MARKS)), None)
    if top is None:
        top = 1 if root.name == "src" else 0
    yield from above[: top + 1]


def _exists(path: Path) -> bool:
    """Whether `path` is there; one that cannot be looked at is told by whoever opens it."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists() raises where a folder is closed, or a name too long


def placed(url: str, home: list[Path]) -> str:
    """`url`, absolute where its path is relative and the queue is not in the working directory but in the program's.

    `home`: as of `home_of_caller`. Raises ImproperlyConfigured where there is no queue yet and the working directory
    is none of the program's: a process that starts elsewhere would not see what this one sends.
    """
    relative = _relative(url) if home else None
    if relative is None:
        return url
    here = Path.cwd()
    others = [folder / relative for folder in home if folder != here and _exists(folder / relative)]
    if _exists(here / relative):
        if others and here not in home:
            logger.warning(
                "the queue is %s, in the working directory; there is another, %s, beside the program", here / relative,
                others[0],
            )  # fmt: skip
        return url
    if others:
        logger.info("the queue is %s: there is none in the working directory", others[0])
        return _with_path(url, others[0])
    if here in home or _is_experiment(here, home[0]):
        return url
    there = home[0] / relative
    raise ImproperlyConfigured(
        f"broker {url!r} is relative: from {here} it would be a second queue, which a worker that is started in "
        f"{home[0]} does not see. Write broker={_with_path(url, there)!r}, or start in {home[0]}"
    )


def _relative(url: str) -> Path | None:
    """The path of `url` where it is one of a file, and relative; None where not."""
    if scheme_of(url) not in BUILT_IN:
        return None
    path = unquote(urlsplit(url).path)[1:]
    if not path or os.path.isabs(path) or path.startswith("~") or path[1:2] == ":":  # noqa: PTH117
        return None
    return Path(path)


def _with_path(url: str, path: Path) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}:///{quote(str(path))}" + (f"?{parts.query}" if parts.query else "")


def _is_experiment(here: Path, root: Path) -> bool:
    """Whether a program works in a folder for temporary files in which it does not live itself: a test, a try."""
    import tempfile  # with all that makes such files; few programs come here

    temporary = Path(tempfile.gettempdir()).resolve()
    return temporary in here.resolve().parents and temporary not in root.parents
