"""`Snapshot`: the texts of a flow's file and of those that its steps run: the input of a run, which stays as it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from liteq_flow.errors import FlowRefused
from liteq_flow.model import Flow, FlowFile, Problem
from liteq_flow.reader.reading import beside, called, read

__all__ = ["Snapshot", "parsed", "take", "text_of"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`file`: the path of the flow's file; `texts`: by path, of it and of the files that its steps run."""

    file: str
    texts: Mapping[str, str]

    @property
    def document(self) -> dict[str, Any]:
        """It as plain data."""
        return {"file": self.file, "texts": dict(self.texts)}

    @property
    def digest(self) -> str:
        """A hash of its contents."""
        digest = hashlib.blake2b(digest_size=12)
        for path, text in sorted(self.texts.items()):
            for part in (path, text):
                data = part.encode("utf-8", "surrogatepass")
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    @property
    def whole(self) -> FlowFile:
        """The flow's file, read. Raises FlowRefused."""
        return parsed(self.file, self.texts[self.file])

    def sub(self, name: str, file: str) -> tuple[Flow, str]:
        """The flow that `dag.run` names in `file`, and its file. Raises LookupError."""
        found = parsed(file, self.texts[file])
        inner = found.sub(name)
        if inner is not None:
            return inner, file
        if name == found.flow.name:
            return found.flow, file
        for path in _beside(file, name):
            if path in self.texts:
                return parsed(path, self.texts[path]).flow, path
        raise LookupError(f"there is no flow {name!r} in {Path(file).name}, nor a file of that name beside it")


@lru_cache(maxsize=64)
def parsed(file: str, text: str) -> FlowFile:
    """A file's text, read; the same text once in each process."""
    return read(text, file)


def _beside(file: str, name: str) -> Iterator[str]:
    """The paths that a flow called `name` may have beside `file`."""
    for one in beside(name):
        yield str((Path(file).parent / one).resolve())


def _has(file: str, name: str) -> bool:
    return any(Path(one).is_file() for one in _beside(file, name))


def text_of(path: str | Path, shown: str) -> str:
    """The text of a file. Raises OSError, FlowRefused where it is none, with the name `shown`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise FlowRefused([Problem(shown, 0, "", f"not UTF-8: {exc.reason} at byte {exc.start}")]) from None


def take(path: str | Path) -> Snapshot:
    """The snapshot of a file as it is now. Raises OSError, FlowRefused for it and for each file that it runs."""
    file = str(Path(path).resolve())
    texts: dict[str, str] = {}
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one in texts:
            continue
        shown = str(path) if one == file else os.path.relpath(one)
        texts[one] = text_of(one, shown)
        # For what is wrong in it: by the name that the user knows.
        found = read(texts[one], shown, has=partial(_has, one))
        for name in {name for flow in found.flows for _, name in called(flow)}:
            if found.sub(name) is None and name != found.flow.name:
                waiting += [other for other in _beside(one, name) if Path(other).is_file()][:1]
    return Snapshot(file, texts)
