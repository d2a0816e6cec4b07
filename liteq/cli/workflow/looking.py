"""The commands that only look: list, show, steps, graph, pending, patches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import one_of
from liteq.cli.parts.output import age, emit, more, paged, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.workflow.choosing import Choice, choosing, chosen, found, matching, unknown_run
from liteq.monitor.graphs.graph import call_name
from liteq.monitor.runs import runs as shown
from liteq.storage.runs.records import RunRecord, RunStep
from liteq.utils.json_text import to_json
from liteq.utils.text import as_command, span

__all__ = ["LOOKING"]

FORMATS = ("text", "mermaid", "svg", "dot")


@click.command("list", cls=Command)
@choosing
@partial(paged, default=100)
@click.option("--doubt", is_flag=True, help="With a step that was begun and whose process is gone (doubt=).")
@pass_session
def list_(
    session: Session, /, name: str | None, status: str | None, tags: tuple[str, ...], since_ms: int | None, limit: int,
    after: str | None, doubt: bool,
) -> int:  # fmt: skip
    """List runs, the newest first, and the event, time or child that each waits for.

    \b
    JSON: [{"id", "name", "status", "version", "waiting_for", "due", "error", "parent_id", "forked_from", "tags", ...}]
    """
    choice = chosen(session, name, status, tags, since_ms)
    before = None if after is None else found(session, after)
    if doubt:
        records = _in_doubt(session, choice, before)[:limit]
    else:
        records = [run for page in matching(session, choice, limit=limit, after=after, waits=True) for run in page]
    now_ms = session.app.clock.now_ms()

    def show() -> None:
        rows = [
            (run.id, run.name, run.status, age(now_ms, run.created_ms), age(now_ms, _due(run)), shown.waiting_line(run))
            for run in records
        ]
        head = ("id", "workflow", "status", "started", "due", "waits for")
        where = f" {choice}" if choice.is_given else " in this file"
        table(session, head, rows, empty=("no step is in doubt of a run" if doubt else "no run") + where)

    emit(session, [shown.run_document(session.app, run) for run in records], show)
    if records:
        more(session, records[-1].id, is_full=len(records) == limit)
    return Exit.OK


def _in_doubt(session: Session, choice: Choice, before: RunRecord | None) -> list[RunRecord]:
    """The runs of `choice` of which a step is in doubt; steps that were sent are among them, by their own ids."""
    runs = session.storage.runs
    ids = runs.in_doubt()
    page: list[RunRecord] = []
    if ids:
        page = runs.list(
            ids, name=choice.name, status=choice.status, tags=choice.tags, since_ms=choice.since_ms, limit=len(ids),
            waits=True,
        )  # fmt: skip
    return [run for run in page if before is None or run.number < before.number]


def _due(run: RunRecord) -> int | None:
    return None if run.status in shown.ENDED or run.status == "running" else run.due_ms


@click.command("show", cls=Command)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@pass_session
def show(session: Session, /, ids: tuple[str, ...]) -> int:
    """Show runs: the cause of their wait, their arguments, their state, and a timeline of their steps.

    Sensitive arguments are hidden. Without -A all are hidden, because only the app's code marks them.

    \b
    JSON: as `list`, and "args", "kwargs", "result", "values", "approvals", "now"
    """
    records = [found(session, id_) for id_ in dict.fromkeys(ids)]
    session.tell_hidden(run.name for run in records)
    documents = [_whole(session, run) for run in records]

    def write() -> None:
        for run, document in zip(records, documents, strict=True):
            _write_run(session, run, document)

    emit(session, documents, write)
    return Exit.OK


def _whole(session: Session, run: RunRecord) -> dict[str, Any]:
    storage = session.storage.runs
    return {
        **shown.run_document(session.app, run, with_args=True),
        "values": {key: shown.value(data) for key, data in storage.state(run.id).items()},
        "approvals": [shown.approval_document(one, run.name) for one in storage.approvals(run.id)],
        "now": shown.now_executing(run),
    }


def _write_run(session: Session, run: RunRecord, document: dict[str, Any]) -> None:
    now_ms = session.app.clock.now_ms()
    say(f"{run.name} {run.id}  {run.status}")
    if why := shown.waiting_line(run):
        due = f", {age(now_ms, run.due_ms)} at the latest" if run.status == "waiting" and run.due_ms else ""
        say(f"  {'waits for':<11} {why}{due}")
    for name, value in document.items():
        if value not in (None, "", [], {}) and name not in {"id", "name", "status", "state", "waiting_for", "due"}:
            say(f"  {name:<11} {_inline(value)}")
    _write_timeline(run, session.storage.runs.steps(run.id), now_ms)


def _inline(value: Any) -> str:
    """A value in one line."""
    return to_json(value).decode() if isinstance(value, (list, dict)) else str(value)


def _write_timeline(run: RunRecord, steps: Sequence[RunStep], now_ms: int) -> None:
    from liteq.monitor.graphs.run_timeline import bars

    lines = bars(run, steps, now_ms=now_ms)
    if lines and lines[0].n > 1:
        say(f"  the last of {len(steps):,} steps; {as_command('workflow steps', run.id)} lists all")
    wide = max((len(one.label) for one in lines), default=0)
    for one in lines:
        say(f"  {one.n:>4} {one.label:<{min(wide, 30)}.30} |{one.bar}| {one.took:>10}  {one.status.replace('_', ' ')}")


@click.command("steps", cls=Command)
@click.argument("id_", metavar="ID")
@pass_session
def steps(session: Session, /, id_: str) -> int:
    """List the steps of a run in the order in which they began, over all its generations.

    \b
    JSON: [{"n", "scope", "kind", "name", "key", "status", "attempts", "output", "error", "child_id", "memo",
    "started", "finished", "due"}]
    """
    found(session, id_)
    rows = session.storage.runs.steps(id_)
    documents = [shown.step_document(step) for step in rows]

    def write() -> None:
        head = ("n", "step", "status", "attempts", "took", "output")
        lines = [
            (one["n"], _step_name(one), one["status"], one["attempts"], _took(session, step), _outcome(one))
            for one, step in zip(documents, rows, strict=True)
        ]
        table(session, head, lines, empty="the run has no step yet")

    emit(session, documents, write)
    return Exit.OK


def _step_name(one: dict[str, Any]) -> str:
    name = call_name(one["kind"], one["name"])
    key = f" [{one['key']}]" if one["key"] else ""
    return f"{one['scope']}: {name}{key}" if one["scope"].startswith("/") else name + key


def _took(session: Session, step: RunStep) -> str:
    end_ms = step.row.ended_ms if step.row.ended_ms is not None else session.app.clock.now_ms()
    return span(max(0, end_ms - step.row.started_ms) / 1000)


def _outcome(one: dict[str, Any]) -> str:
    if one["error"]:
        return str(one["error"])[:200]
    if one["status"] in {"waiting", "retrying"} or one["output"] is None:
        return f"child {one['child_id']}" if one["child_id"] else ""
    return " ".join(_inline(one["output"]).split())[:200] + (" (memo)" if one["memo"] else "")


@click.command("graph", cls=Command)
@click.argument("id_", metavar="ID")
@click.option(
    "--format", "form", default="text", show_default=True, metavar="FORMAT", callback=one_of("format", FORMATS),
    help="text, mermaid, svg or dot.",
)  # fmt: skip
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    metavar="N",
    default=1,
    show_default=True,
    help="Draw children down to this depth.",
)
@pass_session
def graph(session: Session, /, id_: str, form: str, depth: int) -> int:
    """Draw the steps of a run: as text, as a flowchart for Mermaid, as SVG, or as DOT for Graphviz.

    Children, runs and canvases, are drawn below the call that started them. ID may also be that of a canvas.

    \b
    JSON: [{"id", "format", "graph"}]
    """
    from liteq.monitor.graphs.graph_svg import as_svg
    from liteq.monitor.graphs.graph_text import as_dot, as_mermaid, as_text
    from liteq.monitor.runs.workflows import look

    _ = session.storage
    workflow = look(session.app, id_, depth=depth)
    if workflow is None:
        raise unknown_run(id_)
    match form:
        case "svg":
            text = as_svg(workflow.series, f"{workflow.name} {workflow.id}")
        case "mermaid":
            text = as_mermaid(workflow.series)
        case "dot":
            text = as_dot(workflow.series, workflow.id)
        case _:
            text = as_text(workflow.series)
    emit(session, [{"id": id_, "format": form, "graph": text}], lambda: click.echo(text.rstrip("\n")))
    return Exit.OK


@click.command("pending", cls=Command)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@pass_session
def pending(session: Session, /, ids: tuple[str, ...]) -> int:
    """List the approvals that wait for a person's decision, the oldest first.

    \b
    JSON: [{"run_id", "name", "title", "details", "schema", "since", "due"}]
    """
    for id_ in ids:
        found(session, id_)
    storage = session.storage.runs
    open_ = [one for id_ in ids for one in storage.approvals(id_)] if ids else storage.approvals()
    names = _names(session, [one.run_id for one in open_])
    documents = [shown.approval_document(one, names.get(one.run_id, "")) for one in open_]
    now_ms = session.app.clock.now_ms()

    def write() -> None:
        head = ("run", "workflow", "title", "since", "due", "details")
        rows = [
            (
                one.run_id, names.get(one.run_id, ""), one.title, age(now_ms, one.since_ms), age(now_ms, one.due_ms),
                "" if document["details"] is None else _inline(document["details"])[:200],
            )
            for one, document in zip(open_, documents, strict=True)
        ]  # fmt: skip
        table(session, head, rows, empty="no approval is open")

    emit(session, documents, write)
    return Exit.OK


def _names(session: Session, ids: Sequence[str]) -> dict[str, str]:
    unique = list(dict.fromkeys(ids))
    return {run.id: run.name for run in session.storage.runs.list(unique, limit=len(unique))} if unique else {}


@click.command("patches", cls=Command)
@click.option("--name", metavar="NAME", help="Of this workflow.")
@pass_session
def patches(session: Session, /, name: str | None) -> int:
    """Count the unfinished runs that still need each `patched` marker and each version. At 0, delete the old code.

    \b
    JSON: [{"name", "kind": "patch" or "version", "id", "runs"}]
    """
    rows = [row for row in session.storage.runs.needed_marks() if name in (None, row[0])]
    documents = [dict(zip(("name", "kind", "id", "runs"), row, strict=True)) for row in rows]
    head = ("workflow", "kind", "id", "unfinished runs")
    emit(session, documents, lambda: table(session, head, rows, empty="no unfinished run needs one"))
    return Exit.OK


LOOKING = (list_, show, steps, graph, pending, patches)
