"""Celery's chords as liteq's groups: a counter in the file, and the body a row that awaits it.

Nobody joins the header and no task looks whether it has ended. The group is open until Celery has said how many members
it has; each member takes the place that is kept under its id when it comes (docs/adr/0051).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from celery.canvas import group, maybe_signature
from celery.result import GroupResult

from liteq.message import Batch, Flag, Group, Message, depth_of
from liteq.storage.groups.open_groups import Seat
from liteq.utils.ids import ids_of
from liteq_kombu import running
from liteq_kombu.envelope import JSON
from liteq_kombu.replacing import closing_with, hold_members, own_of, retried_as
from liteq_kombu.running import Run
from liteq_kombu.taking import AS_JSON, MARK, Taking, taking, taking_here

if TYPE_CHECKING:
    from celery import Celery

    from liteq_kombu.files import File

__all__ = ["is_plain", "open_chord"]

QUEUE = "celery"  # of a placeholder, where the body is sent to no queue of the file


def open_chord(file: File, app: Celery, group_id: str, results: Iterable[Any], body: Any) -> None:
    """Open the group of a chord's header, and write its body behind it. `results`: the header's, frozen.

    Raises EncodeError for a body whose arguments cannot be JSON. The members may be anything.
    """
    if isinstance(results, list):
        groups, seats = _tree(group_id, results)
    else:  # Celery gives a list, also of a generator, whose members are all made in _tree; a plain iterator's are not
        groups, seats = [Group(group_id, 0)], {}
        file.unplaced.add(group_id)
    body = maybe_signature(body, app=app).clone()
    # The tasks of a body that is a group fail with the header's own error, as on Celery's backends.
    flags = Flag.CAUSE if isinstance(body, group) else 0
    with taking(file, app, group_id, flags, at_a_time=body.options.get("eta") is not None) as taken:
        body.apply_async((MARK,), **AS_JSON)
    run = running.current(file)
    own = own_of(run, taken.rows)
    _note_depths(groups, taken, taking_here(file))
    # Celery gives what follows a group to each task of it, under the same ids: here it comes once, after the first.
    by_id: dict[str, Message] = {}
    for row in taken.rows:
        by_id.setdefault(row.id, row)
    rows = [row for row in by_id.values() if row is not own]
    queue = taken.rows[0].queue if taken.rows else QUEUE
    # A sender that was killed sends once more: what it had sent has perhaps ended, and does not run again.
    again = [] if _ran_before(run) else [*(g.id for g in groups), *(row.id for row in rows)]
    at_once = all(row.group_id is None for row in rows)
    becomes = retried_as(run, own) if run is not None and own is not None else None
    groups_of_file = file.storage.groups
    closing = closing_with(file, taken)
    is_there = run is not None and own is None and _is_there(file, rows)
    if is_there:
        pass  # its members have their places
    elif at_once:
        groups_of_file.open(Batch(rows, groups, closing), seats, queue=queue, again=again)
    else:
        opened = groups_of_file.open(Batch([], groups), seats, queue=queue, again=again)
        # The group is held: nothing follows it yet. A run before this one may have died between the two.
        groups_of_file.enter(Batch(rows, closing=closing), again=again if opened else ())
    if seats:
        hold_members(file, [g.id for g in groups])
    if run is not None and becomes is not None:
        run.outcome = becomes  # its end, once all members are sent: killed before, it has its lease, and runs again


def _note_depths(groups: list[Group], body: Taking, outer: Taking | None) -> None:
    """Say to `outer`, which takes the members down, how much deeper than the body they stand."""
    if outer is not None:
        depths = {"": depth_of(body.rows[0].flags) if body.rows else outer.depth}
        for one in groups:  # each behind the one that it is in
            depths[one.id] = outer.depths[one.id] = depths[one.group_id or ""] + 1


def _is_there(file: File, rows: list[Message]) -> bool:
    """Whether the body waits in the file: of Celery before 5.7 an execution has other ids for groups than the last."""
    found = file.storage.reader.find_many([row.id for row in rows if not row.flags & Flag.ON_FAILURE])
    return any(not one.has_ended for one in found.values())


def _tree(group_id: str, results: list[Any]) -> tuple[list[Group], dict[str, Seat]]:
    """The group of a header with those inside it, and the place of each task: a chain may end in a group."""
    groups = [Group(group_id, 0)]
    seats: dict[str, Seat] = {}
    todo = [(group_id, results)]
    while todo:
        id_, members = todo.pop()
        for at, result in enumerate(members):
            if isinstance(result, GroupResult):
                # Before Celery 5.7 a group at the end of a chain has the id of the header that it is in.
                inner = str(result.id) if result.id != group_id else ids_of(f"group {id_} {at}", 0, 1)[0]
                groups.append(Group(inner, 0, id_, at))
                todo.append((inner, list(result.results)))
            else:
                seats[str(result.id)] = Seat(id_, at)
    return groups, seats


def _ran_before(run: Run | None) -> bool:
    return run is not None and bool(run.lease.crashes or run.again_delivered)


def is_plain(conf: Mapping[str, Any], backend: Any) -> bool:
    """Whether an app's arguments and results are JSON in protocol 2, which a row takes as its input."""
    serializers = (conf["task_serializer"], backend.serializer)
    others = conf["task_protocol"] != 2 or conf["task_compression"] or getattr(backend, "compression", None)
    return not others and all(one in ("json", JSON) for one in serializers)
