"""`liteq inspect`: what is in the file, and what its workers say of themselves there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.many import db_option, each_file
from liteq.cli.parts.names import names, one_of, unknown
from liteq.cli.parts.output import age, emit, json_text, more, paged, say, table
from liteq.cli.parts.remote import arguments_of, ask, commands_of, list_commands, show_answers
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.cli.parts.where import chosen, search_of, where_option
from liteq.monitor.messages import document
from liteq.monitor.tasks.search import texts_of
from liteq.monitor.workers import OFFSET, documents
from liteq.states import State
from liteq.storage import describe_url
from liteq.storage.reading.inspect import Record
from liteq.storage.reading.overview import COUNTED
from liteq.utils.records import dataclass
from liteq.utils.text import span

__all__ = ["inspect"]


@dataclass(frozen=True)
class Query:
    """The options and arguments beside the subject."""

    ids: tuple[str, ...]
    state: State | None
    queue: str | None
    task: str | None
    destination: str | None
    limit: int
    offset: int
    args: bool
    where: str = ""
    after: str | None = None


def queues(session: Session, query: Query) -> int:
    """How many messages each queue has in each state; of each state 10,000 are counted at most."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    more = set[str]()
    for count in session.storage.views.by_queue():
        if query.queue in (None, count.queue):
            found[count.queue][count.state.value] = count.n
            more |= set() if count.exact else {count.state.value}
    shown = [state.value for state in State]
    if session.on_terminal:  # eight columns do not fit into its 80
        shown = [name for name in shown if any(name in states for states in found.values())]
    head = ("queue", *shown)
    rows = [(queue, *(states.get(name, 0) for name in shown)) for queue, states in sorted(found.items())]
    emit(session, found, lambda: table(session, head, rows, empty="no message in any queue"))
    if more:
        session.note(f"there are more that are {', '.join(sorted(more))}: of each state {COUNTED:,} were counted")
    return Exit.OK


def messages(session: Session, query: Query) -> int:
    """Messages of these ids, of a search (--where), or in one state (--state, by default pending), in its order."""
    if query.ids:
        found = session.storage.reader.find_many(query.ids)
        _show_records(session, list(found.values()), with_args=query.args, empty="none of these ids is known")
        return Exit.OK if len(found) == len(set(query.ids)) else Exit.FAILED
    states = [query.state] if query.state else [] if query.where else [State.PENDING]
    search = search_of(session, query.where, states=states, task=query.task, queue=query.queue)
    if query.state and search.states != (query.state,):
        raise click.UsageError("give --state or state: in --where, not both")
    if query.destination:
        if search.worker is not None:
            raise click.UsageError("give --destination or worker: in --where, not both")
        search = replace(search, worker=texts_of(names(query.destination) or ()))
    lines = chosen(session, search, limit=query.limit, offset=query.offset, after=query.after)
    ids = [line.id for line in lines]
    found = session.storage.reader.find_many(ids)
    records = [found[id_] for id_ in ids if id_ in found]
    empty = f"no message is {query.state or State.PENDING}" if not query.where else "no message fits"
    code = _show_records(session, records, with_args=query.args, empty=empty)
    if ids:
        more(session, ids[-1], is_full=len(ids) == query.limit)
    return code


def _show_records(session: Session, records: list[Record], *, with_args: bool, empty: str) -> int:
    if with_args:
        session.tell_hidden(record.task for record in records)
    found = [document(session.app, record, with_args=with_args) for record in records]
    now_ms = session.app.clock.now_ms()
    head = ["id", "task", "queue", "state", "priority", "created", "due", "retries", "worker"]
    rows = [
        [
            r.id,
            r.task,
            r.queue,
            r.state.value,
            r.priority,
            age(now_ms, r.created_ms),
            age(now_ms, r.due_ms),
            r.retries,
            r.worker,
        ]
        for r in records
    ]
    if any(one["waits_for"] for one in found):
        head.append("waits for")
        for row, one in zip(rows, found, strict=True):
            row.append(one["waits_for"])  # fmt: skip
    if with_args:
        head += ["args", "kwargs"]
        for row, one in zip(rows, found, strict=True):
            row += [json_text(one["args"]), json_text(one["kwargs"])]
    emit(session, found, lambda: table(session, head, rows, empty=empty))
    return Exit.OK


def workers(session: Session, query: Query) -> int:
    """The workers that live, with what each says of itself."""
    _ = session.storage  # refuses a file that is not there
    living = session.app.control.living(names(query.destination))
    found = documents(living)
    now_ms = session.app.clock.now_ms()

    def show() -> None:
        if not found:
            say(f"No worker lives on {describe_url(session.app.broker_url).where}.")
        for record, worker in zip(living, found, strict=True):
            say(f"{worker['name']}:")
            ages = {"started": age(now_ms, record.started_ms), "heartbeat": age(now_ms, record.heartbeat_ms)}
            for name, value in (worker | ages).items():
                if name not in {"name", OFFSET}:
                    say(f"  {name:<14} {_in_words(value)}")

    emit(session, found, show)
    return Exit.OK if found else Exit.UNAVAILABLE


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json_text(value) if isinstance(value, dict) else str(value)


def _show_active(session: Session, answers: dict[str, Any]) -> int:
    """The answers to `active` as a table: which task runs where, and for how long."""
    if not answers or session.json or any(not isinstance(answer, list) for answer in answers.values()):
        return show_answers(session, answers)
    now_ms = session.app.clock.now_ms()
    rows = [
        [one["id"], one["name"], worker, one["worker_pid"], span(now_ms / 1000 - one["time_start"])]
        for worker, answer in sorted(answers.items())
        for one in sorted(answer, key=lambda one: one["time_start"])
    ]
    empty = f"nothing runs: {', '.join(sorted(answers))} answered"
    table(session, ["id", "task", "worker", "pid", "runs for"], rows, empty=empty)
    return Exit.OK


SUBJECTS: dict[str, Callable[[Session, Query], int]] = {"queues": queues, "messages": messages, "workers": workers}


def _list(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        list_commands("inspect", {name: (subject.__doc__ or "").splitlines()[0] for name, subject in SUBJECTS.items()})
        ctx.exit()


@click.command(cls=Command)
@click.argument("subject", metavar="SUBJECT")
@click.argument("words", nargs=-1, metavar="[ARGUMENTS]...")
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="The subjects, explained."
)
@click.option("--state", metavar="STATE", callback=one_of("state", State), help="With `messages`: in this state.")
@click.option("-Q", "--queue", metavar="NAME", help="Only this queue.")
@click.option("--task", metavar="NAME", help="Only messages of this task; * and ? stand for any text.")
@where_option
@click.option("-d", "--destination", metavar="NAMES", help="Only these workers, comma-separated.")
@partial(paged, default=100)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip this many first, in the place of --after.")
@click.option(
    "--with-args",
    "--args",
    "args",
    is_flag=True,
    help="Show the arguments too; sensitive ones are hidden, all are without -A.",
)
@click.option("-t", "--timeout", type=SPAN, default=1.0, show_default=True, help="How long to wait for workers.")
@db_option("Of")
@pass_session
def inspect(
    session: Session,
    /,
    subject: str,
    words: tuple[str, ...],
    state: str | None,
    queue: str | None,
    task: str | None,
    destination: str | None,
    limit: int,
    after: str | None,
    offset: int,
    args: bool,
    where: str,
    timeout: float,
    db: tuple[str, ...],
) -> int:
    """Ask the workers, or look into the file. SUBJECT is one of those that `liteq inspect --list` explains.

    queues, messages and workers are read from the file, so nobody has to answer. All else is a question to the workers:
    answered as soon as each that lives has, and with 69 when none does. A worker of the solo pool answers when the task
    that it runs has ended; until then `ping` shows it as BUSY, by its heartbeat.

    \b
    JSON: {worker: answer}, as Celery's; queues {queue: {state: n}}; messages [{"id", "task", "queue", ...}];
    workers [{"name", "pid", ...}]; with --db {PATH: that, or {"error"}}
    """
    query = Query(words, State(state) if state else None, queue, task, destination, limit, offset, args, where, after)
    if db:
        return each_file(session, db, lambda one: _inspect(one, subject, query, timeout))
    return _inspect(session, subject, query, timeout)


def _refuse_idle(subject: str, query: Query) -> None:
    """Raise UsageError for a filter that this subject has no use for: all would be shown in the place of a few."""
    if subject == "messages":
        return
    given = {
        "--state": query.state, "--task": query.task, "--where": query.where, "--with-args": query.args,
        "--after": query.after, "--offset": query.offset, "--queue": query.queue if subject != "queues" else None,
    }  # fmt: skip
    if idle := [name for name, value in given.items() if value]:
        raise click.UsageError(f"{', '.join(idle)}: with `liteq inspect messages`, not with {subject}")
    if query.ids and subject in SUBJECTS:
        raise click.UsageError(f"{subject} takes no arguments, and {query.ids[0]!r} is one")


def _inspect(session: Session, subject: str, query: Query, timeout_s: float) -> int:
    _refuse_idle(subject, query)
    if subject in SUBJECTS:
        return SUBJECTS[subject](session, query)
    session.import_commands()
    if subject == "objgraph":
        raise click.UsageError("a worker draws no graphs of its objects; memsample and memdump tell of its memory")
    if subject not in (known := commands_of("inspect")):
        raise unknown("subject", subject, sorted({*known, *SUBJECTS}))
    arguments = arguments_of("inspect", subject, query.ids)
    answers = ask(session, subject, arguments, destination=query.destination, timeout_s=timeout_s)
    return _show_active(session, answers) if subject == "active" else show_answers(session, answers)
