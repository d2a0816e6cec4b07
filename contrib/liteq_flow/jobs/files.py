"""`file.read`, `file.write`, `template.render`, and one look of `wait.file`."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liteq.utils.misspelt import meant
from liteq_flow.jobs.capture import LARGEST
from liteq_flow.values import text_of

if TYPE_CHECKING:
    from liteq_flow.jobs.job import Job

__all__ = ["check_template", "look_at_file", "read_file", "render", "render_template", "write_file"]

FIELD = re.compile(r"\{\{-?\s*\.([A-Za-z_][A-Za-z0-9_.]*)\s*-?\}\}")
ANY = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def _result(job: Job, text: str) -> dict[str, Any]:
    stdout = job.capture("stdout")
    stdout.add(text.encode("utf-8", "replace"), last=True)
    return {"exit_code": 0, **job.kept(stdout)}


def read_file(job: Job) -> dict[str, Any]:
    """The text of a file is the output."""
    given = job.document["with"]
    path = job.path(given["path"])
    most = int(given.get("max_bytes") or 0) or LARGEST
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path} has {size:,} bytes; {most:,} is the most")
    return _result(job, path.read_text(encoding="utf-8", errors="replace"))


def write_file(job: Job) -> dict[str, Any]:
    """Write a file whole: it is the old one or the new one at every moment."""
    given = job.document["with"]
    path = job.path(given["path"])
    content = job.env.document(given.get("content", ""))
    if given.get("create_dirs"):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and given.get("overwrite") is False:
        raise ValueError(f"{path} is there, and overwrite is false")
    mode = int(str(given["mode"]).removeprefix("0o"), 8) if given.get("mode") else None
    _write(path, text_of(content), mode)
    return {"exit_code": 0, "outputs": {"path": job.masking(str(path)), "bytes": path.stat().st_size}}


def _write(path: Path, text: str, mode: int | None = None) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as opened:
            opened.write(text)
        mask = os.umask(0)
        os.umask(mask)
        there = path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~mask
        written = Path(name)
        written.chmod(there if mode is None else mode)
        written.replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def render(template: str, data: Mapping[str, Any]) -> str:
    """A template with `{{ .name }}` filled in. Raises ValueError for what is not there, and for any other `{{ }}`."""

    def found(match: re.Match[str]) -> str:
        value: Any = data
        for part in match[1].split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise ValueError(f"the template names .{match[1]}, which data does not have")
            value = value[part]
        return text_of(value)

    check_template(template)
    return FIELD.sub(found, template)


def check_template(template: str, data: Mapping[str, Any] | None = None) -> None:
    """Raise ValueError for a `{{ }}` that is no field; where `data` is known, for one that it does not have."""
    for one in ANY.finditer(template):
        field = FIELD.fullmatch(one[0])
        if field is None:
            raise ValueError(f"a template has {{{{ .name }}}} and nothing else, not {one[0]!r:.80}")
        name = field[1].partition(".")[0]
        if data is not None and name not in data:
            raise ValueError(f"the template names .{name}, which `data` does not have{meant(name, data)}")


def render_template(job: Job) -> dict[str, Any]:
    """Fill a template in: into a file, where `output` names one; it is the output too."""
    given = job.document["with"]
    text = render(job.env.expand(given["template"]), job.env.document(given.get("data") or {}))
    if given.get("output"):
        path = job.path(given["output"])
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text)
    return _result(job, text)


def look_at_file(job: Job) -> dict[str, Any]:
    """One look of `wait.file`: whether the file is there, or is gone."""
    given = job.document["with"]
    there = job.path(given["path"]).exists()
    return {"exit_code": 0, "met": there is (given.get("state") != "missing")}
