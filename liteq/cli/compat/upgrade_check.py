"""`liteq upgrade-check`: what a Celery project would meet here."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from liteq.cli.compat.upgrade.facts import Finding, Severity
from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import counted, emit, say
from liteq.cli.parts.session import Session, pass_session

__all__ = ["upgrade_check"]

SKIPPED = frozenset({".git", ".hg", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__", "site-packages"})
SCRIPTS = (
    "Procfile*", "Dockerfile*", "*.dockerfile", "Makefile", "*.mk", "*.service", "*.sh", "*.bash", "*compose*.y*ml",
    "*.conf", "*.cfg", "*.ini", "*.yml", "*.yaml", "*.toml", "justfile", "*.env",
    "*requirements*.txt", "*requirements*.in",
)  # fmt: skip
USES = re.compile(r"^\s*(?:from|import)\s+celery\b", re.MULTILINE)
FIRST_STEP = (
    "keep Celery, and have a liteq file in the place of its broker and results: "
    'broker_url = result_backend = "liteq:////var/lib/app/tasks.db", with liteq\'s extra `celery`; '
    "nothing of what follows needs a change for that, and workers can move one by one: docs/howto/celery-transport.md"
)
LARGEST = 2 << 20  # bytes of a file that is still read


@click.command(cls=Command, name="upgrade-check")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@pass_session
def upgrade_check(session: Session, /, folder: Path) -> int:
    """Read a Celery project, and list what works differently here and what is missing.

    The first step comes first: Celery itself may stay, on a file of liteq's. The list is of what a move to liteq's own
    workers meets. Nothing is imported or run. Exits with 1 when something is missing.

    \b
    JSON: {"files", "counts", "first_step", "findings": [{"file", "line", "severity", "what", "hint"}]}
    `first_step` is null where no file imports Celery.
    """
    from liteq.cli.compat.upgrade.scripts import check_script
    from liteq.cli.compat.upgrade.sources import check_source

    findings: list[Finding] = []
    files = 0
    uses = False
    for path in project_files(folder):
        try:
            if path.stat().st_size > LARGEST:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as exc:
            session.note(f"{path} cannot be read: {exc.strerror}")
            continue
        files += 1
        uses = uses or (path.suffix == ".py" and USES.search(text) is not None)
        name = str(path.relative_to(folder)) if folder.is_dir() else str(path)
        findings += check_source(name, text) if path.suffix == ".py" else check_script(name, text)
    findings = quieter(findings)
    counts = Counter(finding.severity.value for finding in findings)

    def show() -> None:
        if uses:
            say(f"first step: {FIRST_STEP}")
        for finding in findings:
            say(f"{finding.file}:{finding.line}: {finding.severity}: {finding.what}: {finding.hint}")
        told = ", ".join(f"{counts[severity.value]} {severity.value}" for severity in Severity)
        say(f"{counted(files, 'file')} read: {told}")

    document = {
        "files": files,
        "counts": {severity.value: counts[severity.value] for severity in Severity},
        "first_step": FIRST_STEP if uses else None,
        "findings": [finding._asdict() for finding in findings],
    }
    emit(session, document, show)
    return Exit.FAILED if counts[Severity.MISSING.value] else Exit.OK


def project_files(folder: Path) -> Iterator[Path]:
    """The files of a project that are worth a look, sorted; no environments, no foreign code."""
    if folder.is_file():
        yield folder
        return
    for here, folders, names in os.walk(folder):
        place = Path(here)
        folders[:] = sorted(f for f in folders if f not in SKIPPED and not (place / f / "pyvenv.cfg").exists())
        for name in sorted(names):
            if name.endswith(".py") or any(Path(name).match(pattern) for pattern in SCRIPTS):
                yield place / name


def quieter(findings: list[Finding]) -> list[Finding]:
    """The worst first; what is the same for each task is said once, of the first one."""
    order = list(Severity)
    seen: set[str] = set()
    kept = []
    for finding in findings:
        if finding.what.startswith("the task "):
            if finding.hint in seen:
                continue
            seen.add(finding.hint)
        kept.append(finding)
    return sorted(dict.fromkeys(kept), key=lambda one: (order.index(one.severity), one.file, one.line))
