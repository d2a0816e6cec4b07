"""The kinds of jobs, by their names: each takes the job and returns what its result has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from liteq_flow.jobs.asking import look_at_url, request
from liteq_flow.jobs.commands import run_commands
from liteq_flow.jobs.files import look_at_file, read_file, render_template, write_file
from liteq_flow.jobs.mail import send_mail

if TYPE_CHECKING:
    from liteq_flow.jobs.job import Job

__all__ = ["KINDS"]


def write_log(job: Job) -> dict[str, Any]:
    """`log.write`: its message is its output."""
    message = str(job.env.expand(job.document["message"]))
    stdout = job.capture("stdout")
    stdout.add(f"{message}\n".encode("utf-8", "replace"), last=True)
    return {"exit_code": 0, "stdout": stdout.text}


KINDS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "run": run_commands,
    "exec": run_commands,
    "http.request": request,
    "file.read": read_file,
    "file.write": write_file,
    "template.render": render_template,
    "log.write": write_log,
    "mail.send": send_mail,
    "wait.file": look_at_file,
    "wait.http": look_at_url,
}
