"""For every canvas: its rows are a sound graph, and running them gives what the canvas means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from liteq.canvas import Signature, chain, chord, group
from liteq.message import Flag, Group, Message
from liteq.sending.compile import Compiled, compile_signature

# A task's result is its own name and its arguments, so that a result says how it came about.


class Maker:
    header_errbacks = False

    def __init__(self) -> None:
        self.args: dict[str, tuple[Any, ...]] = {}

    def row(self, sig: Signature, *, message_id: str, **places: Any) -> Message:
        self.args[message_id] = sig.args
        return Message(id=message_id, task=sig.task, payload=b"", **places)

    def overrides(self, name: str) -> bool:
        return False

    def overridden(self, sig: Signature) -> Signature:
        return sig


def tasks() -> st.SearchStrategy[Signature]:
    return st.builds(
        lambda name, args, immutable: Signature(name, args, immutable=immutable),
        st.sampled_from("abcd"),
        st.lists(st.integers(0, 9), max_size=2),
        st.booleans(),
    )


def composed(parts: st.SearchStrategy[Signature]) -> st.SearchStrategy[Signature]:
    some = st.lists(parts, max_size=3)
    return st.one_of(
        some.map(group),
        some.map(lambda them: group(them, countdown=1)),
        some.map(chain),
        some.map(lambda them: chain(*them, countdown=1)),  # as written, not folded
        st.builds(chord, some, parts),
        st.builds(lambda them, body: chord(them, body, countdown=1), some, parts),
        st.builds(lambda left, right: left | right, parts, parts),
    )


CANVASES = st.recursive(tasks(), composed, max_leaves=12)


# -- what a canvas means ---------------------------------------------------------------------------------------------

NOTHING = object()  # no task ran


def meaning(sig: Any, args: tuple[Any, ...] = ()) -> Any:
    """The result of `sig` by its definition, step by step, without rows."""
    match sig.subtask_type:
        case None:
            return [sig.task, *([] if sig.immutable else args), *sig.args]
        case "group":
            return flat(sig, args)
        case "chain":
            result: Any = NOTHING
            for step in map(only_member, sig.tasks):
                got = meaning(step, args if result is NOTHING else (result,))
                if not void(step):
                    result = got
            return [] if result is NOTHING else result
        case _:
            header = flat(sig.header_group(), args)
            return header if void(sig.body) else meaning(sig.body, (header,))


def only_member(sig: Any) -> Any:
    """In a chain, a group of one is its member."""
    while sig.subtask_type == "group" and len(sig.tasks) == 1:
        sig = sig.tasks[0]
    return sig


def flat(sig: Any, args: tuple[Any, ...]) -> list[Any]:
    """The results of a group's members; those of groups in it are its own."""
    results = []
    for task in sig.tasks:
        if task.subtask_type == "group":
            results += flat(task, args)
        elif not void(task):
            results.append(meaning(task, args))
    return results


def void(sig: Any) -> bool:
    """True when no task is in `sig`."""
    match sig.subtask_type:
        case None:
            return False
        case "chord":
            return void(sig.body) and all(map(void, sig.tasks))
        case _:
            return all(map(void, sig.tasks))


# -- what rows do ----------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """An interpreter of rows that knows one rule: what is awaited has finished, so the row may run."""

    compiled: Compiled
    args: dict[str, tuple[Any, ...]]

    def results(self) -> dict[str, Any]:
        messages, groups = list(self.compiled.batch.messages), list(self.compiled.batch.groups)
        members: dict[str, dict[int, str]] = {group.id: {} for group in groups}
        rows: list[Message | Group] = [*messages, *groups]
        for row in rows:
            if row.group_id is not None:
                members[row.group_id][row.position] = row.id
        done: dict[str, Any] = {}
        while messages or groups:
            before = len(done)
            for ready in [m for m in messages if m.awaits is None or m.awaits in done]:
                given = (done[ready.awaits],) if ready.flags & Flag.TAKES_INPUT and ready.awaits else ()
                done[ready.id] = [ready.task, *given, *self.args[ready.id]]
                messages.remove(ready)
            for counter in [g for g in groups if all(id_ in done for id_ in members[g.id].values())]:
                done[counter.id] = [done[id_] for _, id_ in sorted(members[counter.id].items())]
                groups.remove(counter)
            assert len(done) > before, "the graph has a circle, or awaits what is not there"
        return done


def run(canvas: Signature) -> tuple[Compiled, dict[str, Any]]:
    maker = Maker()
    compiled = compile_signature(canvas, maker)
    return compiled, Run(compiled, maker.args).results()


def unwrapped(canvas: Any, result: Any) -> Any:
    """A group whose only member gives a group's result shows that one's."""
    if canvas.subtask_type == "group":
        members = [task for task, _ in canvas.members()]
        if len(members) == 1 and members[0].subtask_type is not None and compile_kind(members[0]) == "group":
            return result[0]
    return result


def compile_kind(sig: Signature) -> str:
    return compile_signature(chain(sig, countdown=1), Maker()).node.kind


@given(CANVASES)
def test_running_the_rows_gives_what_the_canvas_means(canvas: Signature) -> None:
    compiled, done = run(canvas)
    expected = unwrapped(canvas, meaning(canvas))
    assert done.get(compiled.node.id, []) == expected


@given(CANVASES)
def test_rows_are_a_sound_graph(canvas: Signature) -> None:
    batch, node = run(canvas)[0][:2]
    messages, groups = batch.messages, batch.groups
    rows: list[Message | Group] = [*messages, *groups]
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    assert {m.awaits for m in messages} - {None} <= set(ids)
    for counter in groups:
        members = [row for row in rows if row.group_id == counter.id]
        assert sorted(row.position for row in members) == list(range(counter.size))
        assert counter.size > 0
    needed = {m.awaits for m in messages}
    linked = {m.id for m in messages if m.flags & Flag.LINKED}
    assert linked == {m.id for m in messages if m.id in needed or m.group_id is not None}
    ends = [row for row in rows if row.id not in needed and row.group_id is None]
    assert len(ends) == (1 if rows else 0)
    if rows and ends[0].id != node.id:  # the group of one group, of which the inner one is seen
        assert [row.id for row in rows if row.group_id == ends[0].id] == [node.id]


@given(CANVASES)
def test_json_keeps_the_meaning(canvas: Signature) -> None:
    data = orjson.dumps(canvas)
    back = Signature.from_dict(orjson.loads(data))
    assert orjson.dumps(back) == data
    assert meaning(back) == meaning(canvas)


@given(CANVASES)
def test_frozen_ids_are_those_of_the_rows(canvas: Signature) -> None:
    frozen = canvas.freeze_node("known")
    compiled, done = run(canvas)
    inner = [child.id for child in frozen.children if child.kind == "group"]
    assert compiled.node.id == frozen.id or ([compiled.node.id] == inner and len(frozen.children) == 1)
    if done:
        assert {id_ for id_ in walk(frozen) if id_ not in done} <= empty_headers(frozen)


@given(CANVASES)
@example(chain(group([Signature("a"), group([])]), countdown=1))
def test_a_frozen_canvas_means_the_same(canvas: Signature) -> None:
    expected = unwrapped(canvas, meaning(canvas))
    canvas.freeze_node()
    for same in (canvas, Signature.from_dict(orjson.loads(orjson.dumps(canvas)))):
        compiled, done = run(same)
        assert done.get(compiled.node.id, []) == expected


def walk(node: Any) -> list[str]:
    found = [node.id] + [id_ for child in node.children for id_ in walk(child)]
    return found + (walk(node.parent) if node.parent is not None else [])


def empty_headers(node: Any) -> set[str]:
    own = {node.id} if node.kind == "group" and not node.children else set()
    parents = empty_headers(node.parent) if node.parent is not None else set()
    return own.union(parents, *(empty_headers(child) for child in node.children))


@given(CANVASES)
def test_a_clone_means_the_same(canvas: Signature) -> None:
    assert meaning(canvas.clone()) == meaning(canvas)
    assert repr(canvas.clone()) == repr(canvas) or "empty" in repr(canvas)
