"""The rows that a call of Celery's would send, taken down in place of being sent, to come after something else.

Celery applies a chord's body, the next link of a chain and an errback when what they wait for has ended, with what that
returned. Here they are applied at once, with a mark in its place, and each message becomes a row that awaits it. So
routes, options and ids are those that Celery gives them, and no process has to be alive for them to follow.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson
from kombu.utils.json import loads as kombu_loads

from liteq.message import DEPTH_SHIFT, LATER, Flag, Lease, Message, depth_of
from liteq.serialization import kind_of
from liteq.serialization.embedded import packed
from liteq.storage.settling.telling import ERRBACK
from liteq_kombu import running
from liteq_kombu.envelope import OPAQUE, embed_of

if TYPE_CHECKING:
    from celery import Celery

    from liteq_kombu.files import File

__all__ = [
    "AS_JSON",
    "MARK",
    "Taking",
    "Untakable",
    "args_of",
    "as_awaited",
    "as_called",
    "embedded",
    "final_id",
    "rows_behind",
    "takes_failure",
    "taking",
    "taking_here",
]

MARK: Final = "liteq: the result that is awaited"
# A message that awaits a result is plain JSON, whatever its signature says: the result goes in front of its arguments.
AS_JSON: Final[Mapping[str, Any]] = {"serializer": "json", "compression": ""}  # a None would be passed over
scope = threading.local()  # `taking`: what this thread sends is taken down by it


class Untakable(ValueError):
    """Raised for a message that cannot be a row behind another one: pickle, msgpack, a compressed one."""


class Taking:
    """Messages sent while it is in force: `rows`, each behind `awaits`, and the groups that are `closing` with them.

    `depth`: in how many groups its rows stand, but for the members of those in `depths`. By that the end of a group
    tells whether its members failed, or something before it, which has called its errbacks (storage's continuation).
    """

    def __init__(
        self, file: File, app: Celery, awaits: str, flags: int = 0, *, at_a_time: bool = False, depth: int = 0
    ) -> None:
        self.file = file
        self.app = app
        self.rows: list[Message] = []
        self.closing: list[tuple[str, int | None]] = []
        self._awaits = awaits
        self._flags = flags
        self._at_a_time = at_a_time  # it was told when, and not how long after
        self.depth = depth
        self.depths: dict[str, int] = {}  # of the members of a group whose chord was taken down in it

    def put(self, row: Message) -> None:
        """Take `row` down, and what comes after it in turn. Raises Untakable."""
        if row.task == OPAQUE:
            raise Untakable("its arguments are no JSON")
        args, kwargs = orjson.loads(row.payload)
        flags, payload = row.flags | self._flags, row.payload
        if args and args[0] == MARK:
            flags, payload = flags | Flag.TAKES_INPUT, orjson.dumps([args[1:], kwargs])
            row = replace(row, options=shown_without_mark(row.options))
        due_ms, delay_ms = row.due_ms, row.delay_ms
        if due_ms is not None and not self._at_a_time:  # a countdown counts from the end of what it awaits
            delay_ms, due_ms = max(due_ms - self.file.storage.clock.now_ms(), 0), None
        row = replace(row, payload=payload, flags=flags, awaits=self._awaits, due_ms=due_ms, delay_ms=delay_ms)
        embed = embedded(row)
        behind = rows_behind(self.file, self.app, row.id, row.root_id or row.id, embed)
        last = final_id(self.app.signature(embed["chain"][0])) if embed.get("chain") else None
        depth = next((depth_of(one.flags) for one in behind.rows if one.id == last), self.depth)
        row = replace(row, flags=row.flags | self.depths.get(row.group_id or "", depth) << DEPTH_SHIFT)
        self.rows += [as_awaited(row, "chain", "errbacks") if behind.rows else row, *behind.rows]
        self.closing += behind.closing


def shown_without_mark(options: bytes | None) -> bytes | None:
    """`options` whose text of the arguments has `...` in the place of what is awaited."""
    doc = orjson.loads(options or b"{}")
    if not isinstance(doc.get("argsrepr"), str):
        return options
    return orjson.dumps({**doc, "argsrepr": doc["argsrepr"].replace(repr(MARK), "...")})


def taking_here(file: File) -> Taking | None:
    """The Taking that takes down the messages of this thread to `file`."""
    found: Taking | None = getattr(scope, "taking", None)
    return found if found is not None and found.file is file else None


@contextmanager
def taking(file: File, app: Celery, awaits: str, flags: int = 0, *, at_a_time: bool = False) -> Iterator[Taking]:
    """Take down what is sent to `file` in this block. The task that runs here is not told of it as its children."""
    before = getattr(scope, "taking", None)
    task = app.current_worker_task
    children = getattr(task.request, "children", None) if task is not None else None
    had = len(children) if children is not None else 0
    run = running.current(file)
    depth = depth_of(run.lease.flags) if run is not None else 0
    scope.taking = made = Taking(file, app, awaits, flags, at_a_time=at_a_time, depth=depth)
    if before is not None:
        made.depths = before.depths
    try:
        yield made
    finally:
        scope.taking = before
        if task is not None and (now := getattr(task.request, "children", None)):
            del now[had:]


def embedded(row: Message) -> dict[str, Any]:
    """The chain, callbacks and errbacks that a message brings, as Celery's tracer would have them."""
    if row.options is None or b'"embed"' not in row.options:
        return {}
    embed = embed_of(orjson.loads(row.options).get("celery", {}))
    found: dict[str, Any] = kombu_loads(orjson.dumps(embed).decode())
    return found


def as_awaited(row: Message, *behind: str) -> Message:
    """`row` as one behind which others are sent with it: what it embeds of the kinds `behind` are those rows."""
    doc = orjson.loads(row.options or b"{}")
    celery = doc.get("celery", {})
    if "embed" in celery:
        celery["embed"] = packed({kind: one for kind, one in embed_of(celery).items() if kind not in behind})
    return replace(row, flags=row.flags | Flag.LINKED, options=orjson.dumps(doc))


def rows_behind(file: File, app: Celery, id_: str, root_id: str, embed: Mapping[str, Any]) -> Taking:
    """The errbacks and the rest of the chain of the message `id_`, taken down. Raises Untakable."""
    found = Taking(file, app, id_)
    origin = {"parent_id": id_, "root_id": root_id}
    for errback in embed.get("errbacks") or ():
        with taking(file, app, id_, Flag.ON_FAILURE | Flag.CALLBACK) as taken:
            sig = app.signature(errback)
            if not sig.subtask_type and takes_failure(app, sig.task, sig.args, sig.kwargs):
                # Past Celery's look at its arguments, which will be others: the request, the error and a traceback.
                app.send_task(sig.task, (MARK, *sig.args), sig.kwargs, **{**sig.options, **origin, **AS_JSON})
            else:
                sig.apply_async((MARK,), **origin, **AS_JSON)
        found.rows += taken.rows
        found.closing += taken.closing
    # Link by link, and not each within the one before it: a chain may be longer than Python's stack is deep.
    before: str | None = id_
    for link in reversed(embed.get("chain") or ()):
        if before is None:
            raise Untakable("a chain goes on behind a group")
        found.rows = [as_awaited(row) if row.id == before else row for row in found.rows]
        step = app.signature(link)
        with taking(file, app, before, at_a_time=step.options.get("eta") is not None) as taken:
            step.apply_async((MARK,), parent_id=before, root_id=root_id, **AS_JSON)
        found.rows += taken.rows
        found.closing += taken.closing
        before = final_id(step)
    return found


def takes_failure(app: Celery, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an errback is called with `(request, exc, traceback)`, by Celery's own question of its function.

    That is whether it takes more than one argument beside those that it has. False where it is not known here.
    """
    from celery.utils.functional import arity_greater

    header = getattr(app._tasks.get(name), "__header__", None)
    if header is None or isinstance(header, partial):  # of a class, or bound: it is called with an id
        return False
    try:
        return bool(arity_greater(partial(header, *args, **kwargs) if args or kwargs else header, 1))
    except (TypeError, ValueError):
        return bool(arity_greater(header, 1))


def as_called(file: File, lease: Lease) -> Lease:
    """`lease` as the call that a worker of Celery's is to make: of an errback that takes more than an id, by a task.

    Whether it does is known where its function is: in the worker that claims it.
    """
    wanted = Flag.TAKES_INPUT | Flag.ON_FAILURE
    if lease.flags & wanted != wanted or file.app is None or lease.task == ERRBACK:
        return lease
    args, kwargs = orjson.loads(lease.payload)
    if not takes_failure(file.app, lease.task, args, kwargs):
        return lease
    payload = orjson.dumps([[lease.awaits, lease.task, args, kwargs], {}])
    return lease._replace(task=ERRBACK, payload=payload, flags=lease.flags & ~wanted)


def args_of(file: File, lease: Lease) -> list[Any] | None:
    """The positional arguments with what was awaited in front, still tagged; None: those of the message.

    Raises ValueError where the result that it awaited is no JSON.
    """
    if not lease.flags & Flag.TAKES_INPUT:
        return None
    args: list[Any] = orjson.loads(lease.payload)[0]
    if lease.flags & Flag.ON_FAILURE:
        return [lease.awaits, *args]
    if lease.input is None:
        return None
    found = lease.input if lease.input != LATER else file.storage.reader.input_of(lease.awaits or "")
    if kind_of(found) is not None:
        raise ValueError(f"the result that it takes is {kind_of(found)}")
    return [orjson.loads(found), *args]


def final_id(sig: Any) -> str | None:
    """The id under which the result of a signature will be: of a chord its body's, of a chain its last link's."""
    while isinstance(sig, dict):
        kwargs = sig.get("kwargs") or {}
        match sig.get("subtask_type"):
            case "chord" if kwargs.get("body") is not None:
                sig = kwargs["body"]
            case "chain" if kwargs.get("tasks"):
                sig = kwargs["tasks"][-1]
            case _:
                found: str | None = (sig.get("options") or {}).get("task_id")
                return found
    return None
