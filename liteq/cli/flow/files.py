"""`liteq flow validate`, `graph`, `schema` and `import`: what a file says, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import one_of
from liteq.cli.parts.output import counted, emit, json_text, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.voice import VOICE
from liteq.cli.processes.flow_worker import package_is_there

if TYPE_CHECKING:
    from liteq_flow import Problem

__all__ = ["FILES"]

FORMATS = ("mermaid", "dot", "svg")
a_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=a_file)
@pass_session
def validate(session: Session, /, files: tuple[Path, ...]) -> int:
    """Check FILEs: each thing that is wrong as FILE:LINE: path: what, and the nearest word. Nothing is run or written.

    Exits with 65 where something is wrong.

    \b
    JSON: [{"file", "line", "path", "what"}]
    """
    package_is_there()
    from liteq_flow import FlowRefused
    from liteq_flow.snapshot import take

    found: list[Problem] = []
    told: list[str] = []
    for file in files:
        try:
            whole = take(file).whole
        except FlowRefused as exc:
            found += exc.problems
            continue
        told.append(f"{file}: {whole.flow.name}, {counted(len(whole.flow.steps), 'step')}")
        for note in whole.notes:
            session.note(str(note).replace(whole.file, str(file)))
    emit(session, [document_of(one) for one in found], lambda: say("\n".join([*told, *map(str, found)])))
    return Exit.DATA if found else Exit.OK


@click.command(cls=Command)
@click.argument("file", type=a_file)
@click.option(
    "--format", "form", default="mermaid", show_default=True, metavar="FORMAT", callback=one_of("format", FORMATS),
    help="mermaid, dot for Graphviz, or svg: a drawing.",
)  # fmt: skip
@pass_session
def graph(session: Session, /, file: Path, form: str) -> int:
    """Write the graph of FILE to stdout: its steps, what each waits for, its other documents, its handlers.

    \b
    JSON: {"file", "format", "graph"}
    """
    package_is_there()
    from liteq_flow import FlowRefused
    from liteq_flow.drawing import FORMATS as WRITERS
    from liteq_flow.snapshot import take

    try:
        whole = take(file).whole
    except FlowRefused as exc:
        return refused(exc)
    text = WRITERS[form](whole)
    emit(session, {"file": str(file), "format": form, "graph": text}, lambda: click.echo(text, nl=False))
    return Exit.OK


@click.command(cls=Command)
def schema() -> int:
    """Write the JSON Schema of flows to stdout, for editors: `# yaml-language-server: $schema=flow.schema.json`."""
    package_is_there()
    from liteq_flow.schemas.schema import published

    click.echo(json_text(published()))
    return Exit.OK


@click.command("import", cls=Command)
@click.argument("file", type=a_file)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there; default: stdout.")
@pass_session
def import_(session: Session, /, file: Path, output: Path | None) -> int:
    """Write FILE with its synonyms replaced: `command` is `run`, `continueOn` is `continue_on`. Its comments stay.

    Exits with 65 where the file is refused or something is left to be changed by hand; each is told with its line.

    \b
    JSON: {"file", "output", "text", "by_hand": [{"file", "line", "path", "what"}]}; "text" is null with --output
    """
    package_is_there()
    from liteq_flow import FlowRefused, read
    from liteq_flow.reader.rewriting import rewritten
    from liteq_flow.snapshot import text_of

    try:
        text, by_hand = rewritten(text_of(file, str(file)), str(file))
        read(text, str(file))
    except FlowRefused as exc:
        return refused(exc)
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as exc:
            VOICE.say("error", f"{output} cannot be written: {exc.strerror}")
            return Exit.CANNOT_CREATE
        session.note(f"{output} is written")
    document = {
        "file": str(file), "output": None if output is None else str(output), "text": text if output is None else None,
        "by_hand": [document_of(one) for one in by_hand],
    }  # fmt: skip

    def write() -> None:
        if output is None:
            click.echo(text, nl=False)
        for one in by_hand:
            click.echo(str(one), err=True)

    emit(session, document, write)
    return Exit.DATA if by_hand else Exit.OK


def document_of(problem: Problem) -> dict[str, Any]:
    """A problem of a file as JSON."""
    return {"file": problem.file, "line": problem.line, "path": problem.path, "what": problem.what}


def refused(exc: Exception) -> int:
    """Write what is wrong with a file, a line each, to stderr."""
    click.echo(str(exc), err=True)
    return Exit.DATA


FILES = (validate, graph, schema, import_)
