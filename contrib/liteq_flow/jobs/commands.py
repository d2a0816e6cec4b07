"""`run`: commands of a shell, or a script, as they are; what they write is captured, and masked."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liteq.workflow import ctx
from liteq_flow.jobs.capture import INLINE, Capture
from liteq_flow.jobs.outputs import read_outputs
from liteq_flow.jobs.process import Ended, run_command

if TYPE_CHECKING:
    from liteq_flow.jobs.job import Job

__all__ = ["run_commands"]

TAIL = 4 * 1024  # characters of stderr that a result bears
UNIX = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})


def run_commands(job: Job) -> dict[str, Any]:
    """Run the commands one after the other; the first that fails ends the job."""
    document = job.document
    cwd = job.cwd
    if not cwd.is_dir():
        raise ValueError(f"the working directory {cwd} is not there")
    timeout_s = document.get("timeout_s")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    stdout, stderr = job.capture("stdout"), job.capture("stderr")
    with tempfile.TemporaryDirectory(prefix="liteq-flow-") as folder:
        outputs = Path(folder) / "outputs"
        outputs.touch()
        job.env.values |= {"DAGU_OUTPUT_FILE": str(outputs), "LITEQ_OUTPUT_FILE": str(outputs)}
        ended = Ended(0)
        for text in document.get("commands") or [""]:
            argv = argv_of(job, text, Path(folder))
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ended = _one(job, argv, cwd, left, stdout, stderr)
            if ended.exit_code != 0 or ended.timed_out or ended.cancelled:
                break
        _close(stdout, stderr)
        written = read_outputs(outputs, job.masking) if ended.exit_code == 0 else {}
    _copy(job, stdout, stderr)
    return {**job.kept(stdout), "stderr": stderr.text[:INLINE], "outputs": written, **_end(ended, timeout_s, stderr)}


def argv_of(job: Job, text: str, folder: Path) -> list[str]:
    """How a text is started: by its `#!`, or by the shell: as a file where it is a script, else by -c."""
    document = job.document
    if document["do"] == "exec":
        return [job.env.expand(word) for word in document["argv"]]
    shell = [job.env.expand(word) for word in document.get("shell") or ()]
    own = bool(document.get("own_shell"))
    if document.get("script"):
        file = folder / "script"
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        first = text.split("\n", 1)[0]
        if first.startswith("#!") and not own:
            words = shlex.split(first[2:])
            if not words:
                raise ValueError("the script's #! names no interpreter")
            return [*words, str(file)]
        return [*_strict(shell or ["sh"], own), str(file)]
    shell = _strict(shell or ["sh"], own)
    return [*shell, text] if "-c" in shell else [*shell, "-c", text]


def _strict(shell: Sequence[str], own: bool) -> list[str]:
    """`shell` with -e, so that the first command that fails ends it: as Dagu has it, but of a step's own shell."""
    words = list(shell)
    if own or Path(words[0]).name not in UNIX or "-e" in words:
        return words
    return [words[0], "-e", *words[1:]]


def _one(
    job: Job, argv: list[str], cwd: Path, left_s: float | None, stdout: Capture, stderr: Capture
) -> Ended:  # fmt: skip
    streams = {"stdout": stdout, "stderr": stderr}
    try:
        return run_command(
            argv, env=job.env.values, cwd=str(cwd), timeout_s=left_s, cancelled=ctx.cancelled,
            take=lambda name, data: streams[name].add(data),
        )  # fmt: skip
    except FileNotFoundError as exc:
        raise ValueError(f"{argv[0]!r} is not there: {exc.strerror}") from None


def _close(*streams: Capture) -> None:
    for one in streams:
        one.add(b"", last=True)


def _copy(job: Job, stdout: Capture, stderr: Capture) -> None:
    """Write the streams to the files that the step names."""
    for stream in (stdout, stderr):
        path, artifact = job.document.get(stream.name) or (None, None)
        for file in (path and job.path(path), artifact and job.artifacts / Path(job.env.expand(artifact)).name):
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("a", encoding="utf-8") as opened:
                    opened.write(stream.text)


def _end(ended: Ended, timeout_s: float | None, stderr: Capture) -> dict[str, Any]:
    """The exit code, and why it failed."""
    if ended.timed_out:
        return {"exit_code": ended.exit_code, "timed_out": True, "error": f"it took longer than {timeout_s:g} s"}
    if ended.cancelled:
        return {"exit_code": ended.exit_code, "cancelled": True, "error": "its run was cancelled"}
    if ended.exit_code == 0:
        return {"exit_code": 0}
    last = stderr.text.strip()[-TAIL:]
    words = f"exit code {ended.exit_code}"
    return {"exit_code": ended.exit_code, "error": f"{words}: {last.splitlines()[-1]}" if last else words}
