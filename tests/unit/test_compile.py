"""A canvas becomes rows: which row awaits what, who counts it, and what its options become."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from liteq.canvas import Node, Signature, chain, chord, chunks, group, xmap
from liteq.message import DEPTH_SHIFT, Batch, Flag, Message
from liteq.sending.compile import compile_many, compile_signature

LINKED, TAKES_INPUT, ON_FAILURE, CALLBACK = Flag.LINKED, Flag.TAKES_INPUT, Flag.ON_FAILURE, Flag.CALLBACK


class Rows:
    """A row maker that keeps the signatures: `of["a"]` is the row of the task `a`, `sig["a"]` what it was made from."""

    def __init__(self, header_errbacks: bool = False) -> None:
        self.header_errbacks = header_errbacks
        self.of: dict[str, Message] = {}
        self.sig: dict[str, Signature] = {}

    def row(self, sig: Signature, *, message_id: str, **places: Any) -> Message:
        row = Message(id=message_id, task=sig.task, payload=b"", **places)
        self.of[sig.task], self.sig[sig.task] = row, sig
        return row

    def overrides(self, name: str) -> bool:
        return False

    def overridden(self, sig: Signature) -> Signature:
        return sig


def t(name: str, *args: Any, **options: Any) -> Signature:
    return Signature(name, args, options=options)


def compiled(canvas: Any, *args: Any, **how: Any) -> tuple[Rows, tuple[Batch, Node]]:
    rows = Rows()
    return rows, compile_signature(canvas, rows, *args, **how)[:2]


def test_a_plain_task_is_one_row_that_nobody_waits_for() -> None:
    _rows, (batch, node) = compiled(t("a", 1))
    assert batch.messages == [Message(node.id, "a", b"")]
    assert batch.groups == []


def test_each_link_of_a_chain_awaits_the_one_before_and_takes_its_result() -> None:
    rows, (_, node) = compiled(t("a") | t("b").set(immutable=True) | t("c"))
    a, b, c = rows.of["a"], rows.of["b"], rows.of["c"]
    assert (a.awaits, b.awaits, c.awaits) == (None, a.id, b.id)
    assert (a.flags, b.flags, c.flags) == (LINKED, LINKED, TAKES_INPUT)
    assert (a.root_id, b.root_id, c.root_id) == (None, a.id, a.id)
    assert (a.parent_id, b.parent_id, c.parent_id) == (None, a.id, b.id)
    assert (node.id, node.parent.id, node.parent.parent.id) == (c.id, b.id, a.id)  # type: ignore[union-attr]


def test_a_groups_members_are_counted_in_their_order() -> None:
    _rows, (batch, node) = compiled(group(t("a"), t("b")))
    (counter,) = batch.groups
    assert (counter.id, counter.size) == (node.id, 2)
    one_deep = LINKED | 1 << DEPTH_SHIFT
    assert [(m.group_id, m.position, m.flags) for m in batch.messages] == [
        (node.id, 0, one_deep),
        (node.id, 1, one_deep),
    ]
    assert [child.id for child in node.children] == [m.id for m in batch.messages]


def test_a_chords_body_awaits_the_group() -> None:
    rows, (batch, node) = compiled(t("x") | chord([t("a"), t("b")], t("body")) | t("after"))
    (header,) = batch.groups
    assert {rows.of[name].awaits for name in "ab"} == {rows.of["x"].id}
    assert (rows.of["body"].awaits, rows.of["after"].awaits) == (header.id, rows.of["body"].id)
    assert rows.of["body"].parent_id == rows.of["b"].id
    assert {m.root_id for m in batch.messages} == {None, rows.of["x"].id}
    assert [node.parent.id, node.parent.parent.id] == [rows.of["body"].id, header.id]  # type: ignore[union-attr]


def test_a_group_after_a_group_awaits_it_as_a_whole() -> None:
    rows, (batch, node) = compiled(group(t("a"), t("b")) | group(t("c"), t("d")))
    first, second = batch.groups
    assert {rows.of[name].awaits for name in "cd"} == {first.id}
    assert {rows.of[name].group_id for name in "cd"} == {second.id} == {node.id}


def test_a_member_is_counted_by_its_last_row() -> None:
    _rows, (batch, node) = compiled(group(t("a") | t("b"), chord([t("c")], t("d")), t("e") | group(t("f"), t("g"))))
    outer = next(g for g in batch.groups if g.id == node.id)
    inner = next(g for g in batch.groups if g.group_id == outer.id)
    assert (outer.size, inner.position) == (3, 2)
    assert {m.task: m.position for m in batch.messages if m.group_id == outer.id} == {"b": 0, "d": 1}
    assert {m.task for m in batch.messages if m.group_id == inner.id} == {"f", "g"}


def test_groups_in_a_group_are_unrolled() -> None:
    _, (batch, _) = compiled(group(t("a"), group(t("b"), group(), chain([])), t("c")))
    assert [(m.task, m.position) for m in batch.messages] == [("a", 0), ("b", 1), ("c", 2)]
    assert [g.size for g in batch.groups] == [3]


def test_the_result_of_a_group_of_one_chain_that_ends_in_a_group_is_that_groups() -> None:
    rows, (_, node) = compiled(group(t("a") | group(t("b"), t("c"))))
    assert [child.id for child in node.children] == [rows.of["b"].id, rows.of["c"].id]


def test_twenty_chords_of_a_hundred_are_as_many_rows_as_tasks() -> None:
    canvas = chain([chord([t("h")] * 100, t("b")) for _ in range(20)])
    _, (batch, _) = compiled(canvas)
    assert (len(batch.messages), len(batch.groups)) == (20 * 101, 20)


# -- what is empty ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nothing",
    [group(), chain([]), group(group()), chain([group(), chain([])])],
    ids=["group", "chain", "nested", "chain-of-empties"],
)
def test_an_empty_canvas_is_no_rows_and_an_empty_group(nothing: Signature) -> None:
    _, (batch, node) = compiled(nothing)
    assert (batch.messages, batch.groups, node.kind, node.children) == ([], [], "group", [])


def test_the_body_of_an_empty_header_runs_at_once_with_the_empty_list() -> None:
    rows, _ = compiled(group() | t("body", 7))
    assert (rows.sig["body"].args, rows.of["body"].awaits) == (([], 7), None)


def test_the_body_of_an_empty_header_runs_after_what_comes_before_it() -> None:
    rows, _ = compiled(t("x") | chord([], t("body")))
    assert rows.of["body"].awaits == rows.of["x"].id
    assert (rows.sig["body"].args, rows.of["body"].flags) == (([],), 0)


def test_a_chord_with_an_empty_body_is_its_header() -> None:
    _rows, (batch, node) = compiled(chord([t("a")], group()))
    assert ([m.task for m in batch.messages], node.kind) == (["a"], "group")


# -- arguments and options -------------------------------------------------------------------------------------------


def test_arguments_of_the_call_reach_what_runs_first() -> None:
    rows, _ = compiled(t("a", 1) | t("b", 2), (5,), {"k": 1})
    assert (rows.sig["a"].args, rows.sig["a"].kwargs, rows.sig["b"].args) == ((5, 1), {"k": 1}, (2,))
    rows, _ = compiled(chord([t("a", 1), t("b", 2).set(immutable=True)], t("c")), (5,))
    assert [rows.sig[name].args for name in "abc"] == [(5, 1), (2,), ()]


def test_options_of_a_chains_call_are_its_first_tasks() -> None:
    rows, _ = compiled(t("a", queue="x") | t("b"), options={"queue": "q", "countdown": 3, "task_id": "last"})
    assert rows.sig["a"].options == {"queue": "q", "countdown": 3}
    assert (rows.sig["b"].options, rows.of["b"].id) == ({}, "last")


def test_options_of_a_groups_call_are_each_members() -> None:
    rows, (_, node) = compiled(group(t("a", queue="x"), t("b") | t("c")), options={"queue": "q", "task_id": "gid"})
    assert [rows.sig[name].options for name in "abc"] == [{"queue": "q"}, {"queue": "q"}, {}]
    assert node.id == "gid"


def test_options_of_a_chords_call_are_headers_and_bodys_but_a_delay_is_the_headers() -> None:
    call = {"queue": "q", "countdown": 9, "task_id": "body"}
    rows, (_, node) = compiled(chord([t("a")], t("b", countdown=1)), options=call)
    assert rows.sig["a"].options == {"queue": "q", "countdown": 9}
    assert rows.sig["b"].options == {"queue": "q", "countdown": 1}
    assert (rows.of["b"].id, node.id) == ("body", "body")


def test_stamps_are_gathered() -> None:
    rows, _ = compiled(t("a").stamp(who="me"))
    assert rows.sig["a"].options["stamps"] == {"who": "me"}


def test_frozen_ids_are_used() -> None:
    canvas = t("a") | group(t("b"), t("c")) | t("d")
    frozen = canvas.freeze_node("known")
    _, (_, node) = compiled(canvas)

    def ids(node: Any) -> Any:
        return node and (node.id, [ids(child) for child in node.children], ids(node.parent))

    assert ids(node) == ids(frozen)
    assert node.id == "known"


def test_an_id_that_two_parts_have_is_refused() -> None:
    with pytest.raises(ValueError, match="two parts of this canvas have the id x"):
        compiled(group(t("a", task_id="x"), t("b", task_id="x")))


def test_compiling_changes_nothing() -> None:
    canvas = chord([t("a"), t("b") | t("c")], t("d").on_error(t("e"))).set(queue="q", link=[t("f")])
    before = repr(dict(canvas)), repr(canvas.body.options)
    compiled(canvas, (1,), options={"countdown": 3})
    assert (repr(dict(canvas)), repr(canvas.body.options)) == before


# -- links -----------------------------------------------------------------------------------------------------------


def test_a_callback_awaits_its_task_and_an_errback_its_failure() -> None:
    a = t("a")
    a.link(t("b") | t("c"))
    a.link_error(t("e"))
    rows, (_, node) = compiled(a)
    assert node.id == rows.of["a"].id
    assert rows.of["a"].flags == LINKED
    assert (rows.of["b"].awaits, rows.of["b"].flags) == (node.id, TAKES_INPUT | CALLBACK | LINKED)
    assert (rows.of["c"].awaits, rows.of["c"].flags) == (rows.of["b"].id, TAKES_INPUT)
    assert (rows.of["e"].awaits, rows.of["e"].flags) == (node.id, TAKES_INPUT | CALLBACK | ON_FAILURE)


def test_a_chains_link_is_its_lasts_and_its_errback_each_ones() -> None:
    canvas = t("a") | t("b") | t("c")
    canvas.link(t("l"))
    canvas.link_error(t("e"))
    rows, (batch, _) = compiled(canvas)
    assert rows.of["l"].awaits == rows.of["c"].id
    assert [m.awaits for m in batch.messages if m.task == "e"] == [rows.of[name].id for name in "abc"]


def test_a_link_of_a_chain_that_ends_in_a_group_is_each_members() -> None:
    canvas = t("a") | group(t("b"), t("c"))
    canvas.link(t("l"))
    rows, (batch, _) = compiled(canvas)
    assert [m.awaits for m in batch.messages if m.task == "l"] == [rows.of[name].id for name in "bc"]


def test_a_chords_errback_is_its_bodys_and_its_headers_where_told() -> None:
    canvas = chord([t("a")], t("b")).set(link_error=[t("e")])
    rows, (batch, _) = compiled(canvas)
    assert [m.awaits for m in batch.messages if m.task == "e"] == [rows.of["b"].id]
    rows = Rows(header_errbacks=True)
    batch = compile_signature(canvas, rows).batch
    assert [m.awaits for m in batch.messages if m.task == "e"] == [rows.of[name].id for name in "ab"]


def test_a_frozen_errback_of_many_tasks_is_many_rows() -> None:
    canvas = (t("a") | t("b")).on_error(t("e", task_id="e"))
    _, (batch, _) = compiled(canvas)
    assert len({m.id for m in batch.messages if m.task == "e"}) == 2


# -- from a running task, and maps -----------------------------------------------------------------------------------


def test_what_replaces_a_task_is_of_its_workflow_and_awaited() -> None:
    rows, (batch, node) = compiled(t("a") | t("b"), root_id="root", parent_id="me", linked=True)
    assert {m.root_id for m in batch.messages} == {"root"}
    assert (rows.of["a"].parent_id, rows.of["b"].flags & LINKED) == ("me", LINKED)
    assert node.id == rows.of["b"].id


def test_what_is_added_to_a_chord_takes_a_place_in_its_header() -> None:
    rows, _ = compiled(t("a") | t("b"), group_id="header", position=7, linked=True)
    assert (rows.of["a"].group_id, rows.of["b"].group_id, rows.of["b"].position) == (None, "header", 7)


def test_chunks_are_a_group_of_starmaps() -> None:
    rows, (batch, _) = compiled(chunks(t("add"), [(1, 2), (3, 4), (5, 6)], 2) | t("sum"))
    maps = [m for m in batch.messages if m.task == "celery.starmap"]
    assert (len(maps), batch.groups[0].size, rows.of["sum"].awaits) == (2, 2, batch.groups[0].id)
    assert rows.sig["celery.starmap"].kwargs == {"task": t("add"), "it": [(5, 6)]}


def test_a_map_waits_its_turn_and_takes_no_input() -> None:
    rows, _ = compiled(t("a") | xmap(t("add"), [1, 2]))
    assert (rows.of["celery.map"].awaits, rows.of["celery.map"].flags) == (rows.of["a"].id, 0)


def test_many_signatures_are_one_batch() -> None:
    batch, nodes = compile_many([t("a"), t("b") | t("c")], Rows())
    assert [len(batch.messages), len(nodes)] == [3, 2]


# -- what is refused -------------------------------------------------------------------------------------------------


def test_what_is_no_canvas_is_refused() -> None:
    with pytest.raises(TypeError, match="takes signatures, not int 5"):
        compiled(5)
    with pytest.raises(TypeError, match="not None"):
        compiled(None)
    with pytest.raises(TypeError, match="has no body"):
        compiled(chord([t("a")]))


def test_nesting_without_end_is_refused() -> None:
    canvas: Signature = t("a")
    for _ in range(101):
        canvas = chord([t("h")], canvas)
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        compiled(canvas)


def test_a_member_of_a_large_group_costs_little() -> None:
    class Free:
        header_errbacks = False
        made = Message("", "", b"")

        def row(self, sig: Signature, **places: Any) -> Message:
            return self.made

        def overrides(self, name: str) -> bool:
            return False

    def calls_to_compile(members: int) -> int:
        canvas = group([t("a", i) for i in range(members)])
        calls = 0

        def count(_frame: object, event: str, _arg: object) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            compile_signature(canvas, Free())
        finally:
            sys.setprofile(None)
        return calls

    few, many = calls_to_compile(1_000), calls_to_compile(10_000)
    assert many < 10 * few, "a member of a larger group costs more"
    assert many / 10_000 < 60
