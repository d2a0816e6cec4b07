"""Signatures as values: how they are made, joined, completed and carried."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import orjson
import pytest

from liteq.canvas import (
    Node,
    Signature,
    StampingVisitor,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    xmap,
    xstarmap,
)


def add(*args: Any, **kwargs: Any) -> Signature:
    return Signature("p.add", args, kwargs)


def xsum(*args: Any) -> Signature:
    return Signature("p.xsum", args)


class Sender:
    """An app that writes down what it is asked for."""

    class conf:
        task_allow_error_cb_on_chord_header = False

    def __init__(self) -> None:
        self.tasks = {"p.add": lambda *args: sum(args)}
        self.sender = self
        self.sent: list[Any] = []

    def send_signature(self, sig: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        self.sent.append((sig, args, kwargs, options))
        return "sent"

    def apply_signature(self, sig: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        return "applied"

    def result_of(self, node: Node) -> Node:
        return node


# -- joining ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canvas", "reads"),
    [
        (add(1) | add(2), "p.add(1) | add(2)"),
        ((add(1) | add(2)) | (add(3) | add(4)), "p.add(1) | add(2) | add(3) | add(4)"),
        (group(add(1), add(2)), "group((p.add(1), add(2)))"),
        (group([add(1), add(2)]), "group([p.add(1), add(2)])"),
        (group(), "group(<empty>)"),
        (group(add(1), add(2)) | add(3), "%p.add((add(1), add(2)), 3)"),
        (add(1) | group(add(2), add(3)), "p.add(1) | group((add(2), add(3)))"),
        (add(1) | group(add(2)), "p.add(1) | add(2)"),
        (add(1) | group(add(2), add(3)) | add(4), "p.add(1) | %add((add(2), add(3)), 4)"),
        (group(add(1), add(2)) | group(add(3)), "%celery.group((p.add(1), p.add(2)), tasks=[p.add(3)])"),
        (chord([add(1), add(2)], xsum()) | add(5), "%(p.xsum([add(1), add(2)]) | add(5))"),
        (chord([add(1)], xsum()) | group(add(5), add(6)), "%p.xsum([add(1)]) | group((p.add(5), add(6)))"),
        (add(0) | chord([add(1)], xsum()), "p.add(0) | %xsum([add(1)])"),
        (chord([add(1)], xsum()) | chord([add(3)], xsum()), "%(p.xsum([add(1)]) | %xsum([add(3)]))"),
        (chord([add(1)]), "<chord without body: [p.add(1)]>"),
        (chain(add(1)), "p.add(1)"),
        (chain(add(1), group(add(2), add(3)), add(4)), "p.add(1) | %add((add(2), add(3)), 4)"),
        (chain(group(add(1)), add(2)), "p.add(1) | add(2)"),
        (chain(group([]), add(1)), "p.add(1)"),
        (chain(add(1), group([]), add(2)), "p.add(1) | add(2)"),
        (chunks(add(), [(1, 2), (3, 4), (5, 6)], 2), "celery.chunks(task=p.add(), it=[(1, 2), (3, 4), (5, 6)], n=2)"),
        (xmap(add(), [1, 2]), "[p.add(x) for x in [1, 2]]"),
        (xstarmap(add(), [(1, 2)]), "[p.add(*x) for x in [(1, 2)]]"),
    ],
)
def test_a_canvas_reads_as_celery_writes_it(canvas: Signature, reads: str) -> None:
    assert repr(canvas) == reads


def test_what_is_empty_adds_nothing() -> None:
    assert group() | group() == group()
    assert (add(1) | group()) == add(1)
    assert len((chain(add(1), add(2)) | chain([])).tasks) == 2
    assert (chain([]) | add(1)).tasks == [add(1)]


def test_joining_leaves_the_joined_as_they_were() -> None:
    first, second = add(1) | add(2), group(add(3), add(4))
    before = repr(first), repr(second)
    first | second | add(5)
    assert (repr(first), repr(second)) == before


def test_an_inplace_join_is_a_join() -> None:
    sig = add(1)
    sig |= add(2)
    assert repr(sig) == "p.add(1) | add(2)"


def test_a_chains_link_stays_with_the_task_that_was_its_last() -> None:
    first = add(1) | add(2)
    first.link(xsum())
    assert (first | add(3)).tasks[1].options["link"] == [xsum()]


def test_groups_and_chords_take_generators() -> None:
    assert len(group(add(i) for i in range(3))) == 3
    assert len(chord((add(i) for i in range(3)), xsum()).tasks) == 3


class NamedTask:
    name = "p.add"

    def s(self) -> None: ...


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: group(1),
        lambda: group("add"),
        lambda: group([add(1), None]),
        lambda: chain(None),
        lambda: chain(add(1), 2),
        lambda: chord([add(1)], "xsum"),
        lambda: add(1).link(print),
        lambda: maybe_signature(5),
    ],
)
def test_what_is_no_signature_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="takes signatures, not"):
        wrong()


def test_a_task_in_the_place_of_its_signature_is_told_to_write_s() -> None:
    with pytest.raises(TypeError, match=r"the task 'p.add' itself; write \.s\(\.\.\.\)"):
        chain(NamedTask(), NamedTask())
    with pytest.raises(TypeError):
        add(1) | 5
    with pytest.raises(TypeError, match="has the key 'task'"):
        add(1) | {"no": "signature"}


# -- arguments and options -------------------------------------------------------------------------------------------


def test_later_arguments_come_before_its_own() -> None:
    assert add(1, a=1).clone((5,), {"b": 2}, countdown=3) == Signature("p.add", (5, 1), {"a": 1, "b": 2}, countdown=3)


def test_an_immutable_signature_takes_options_only() -> None:
    sig = add(1).set(immutable=True).clone((5,), {"b": 2}, countdown=3)
    assert (sig.args, sig.kwargs, sig.options) == ((1,), {}, {"countdown": 3})


def test_a_later_call_moves_no_member_out_of_its_group() -> None:
    sig = add(1).set(group_id="mine", queue="a").clone(group_id="other", queue="b")
    assert sig.options == {"group_id": "mine", "queue": "b"}


def test_a_clone_shares_no_links() -> None:
    sig = add(1)
    sig.link(add(2))
    sig.clone().options["link"][0].set(queue="x")
    assert sig.options["link"] == [add(2)]


def test_replace_sets_what_is_given() -> None:
    sig = add(1).set(queue="a")
    assert sig.replace(args=(9,), options={}) == add(9)
    assert sig == add(1).set(queue="a")


def test_the_same_callback_is_linked_once() -> None:
    sig = add(1)
    assert sig.link(add(2)) == add(2)
    sig.link(add(2))
    assert sig.on_error(add(3)) is sig
    assert sig.options == {"link": [add(2)], "link_error": [add(3)]}
    assert sig.flatten_links() == [sig, add(2)]


def test_links_of_a_group_and_of_a_chord_go_where_celery_puts_them() -> None:
    both = group(add(1), add(2))
    both.link(add(3))
    assert [task.options for task in both.tasks] == [{"link": [add(3).set(immutable=True)]}, {}]
    assert both.link_error(add(4)) == (add(4), add(4))
    joined = chord([add(1)], xsum(), app=Sender())
    joined.link(add(3))
    joined.link_error(add(4))
    assert joined.body.options == {"link": [add(3)], "link_error": [add(4)]}
    assert joined.tasks[0].options == {}


def test_a_chords_errback_reaches_the_header_where_the_setting_says_so() -> None:
    sender = Sender()
    sender.conf = type("conf", (), {"task_allow_error_cb_on_chord_header": True})  # type: ignore[assignment]
    joined = chord([add(1)], xsum(), app=sender)
    joined.link_error(add(4))
    assert joined.tasks[0].options["link_error"] == [add(4).set(immutable=True)]


def test_skew_spreads_a_group_over_time() -> None:
    delays = [task.options["countdown"] for task in group(add(i) for i in range(4)).skew(1, 6, 2).tasks]
    assert delays == [1.0, 3.0, 5.0, 6.0]


# -- as data ---------------------------------------------------------------------------------------------------------

CANVASES = [
    add(1, k=2).set(queue="q"),
    add(1) | group(add(2), add(3)) | xsum() | add(4),
    chord([add(1), add(2) | add(3)], xsum()).set(countdown=3),
    group(group(add(1)), chord([add(2)], group(add(3), add(4)))),
    chunks(add(), [[1, 2], [3, 4]], 1),
    xmap(add(), [1]) | xstarmap(add(), [[1]]),
    add(1).set(immutable=True).on_error(add(2)),
]


@pytest.mark.parametrize("canvas", CANVASES, ids=repr)
def test_json_brings_a_canvas_back(canvas: Signature) -> None:
    data = orjson.dumps(canvas)
    back = Signature.from_dict(orjson.loads(data))
    assert type(back) is type(canvas)
    assert orjson.dumps(back) == data


@pytest.mark.parametrize("canvas", CANVASES, ids=repr)
def test_copies_are_of_the_same_type_and_equal(canvas: Signature) -> None:
    for other in (canvas.clone(), copy.deepcopy(canvas), pickle.loads(pickle.dumps(canvas)), signature(canvas)):
        assert type(other) is type(canvas)
        assert other == canvas


def test_a_dict_that_is_no_signature_is_refused() -> None:
    with pytest.raises(TypeError, match="has the key 'task'"):
        signature({"args": ()})
    with pytest.raises(TypeError, match="no signature has the type 'nonsense'"):
        signature({"task": "a", "subtask_type": "nonsense"})
    with pytest.raises(TypeError, match="needs a task"):
        signature(None)


# -- through an app --------------------------------------------------------------------------------------------------


def test_calls_go_through_the_app_of_the_first_part_that_has_one() -> None:
    sender = Sender()
    canvas = group(add(1), Signature("p.add", (2,), app=sender)) | xsum()
    assert canvas.apply_async((5,), queue="q", eta=None) == "sent"
    assert sender.sent == [(canvas, (5,), {}, {"queue": "q"})]
    assert canvas.apply() == "applied"


def test_a_plain_signature_that_is_called_runs_here() -> None:
    assert Signature("p.add", (1,), app=Sender())(5) == 6


def test_chord_of_a_header_is_called_with_its_body() -> None:
    sender = Sender()
    assert chord([add(1)], app=sender)(xsum(), queue="q") == "sent"
    sent, _, _, options = sender.sent[0]
    assert (sent.body, options) == (xsum(), {"queue": "q"})


def test_a_group_has_no_links_of_its_own() -> None:
    with pytest.raises(TypeError, match="chord"):
        group(add(1), app=Sender()).apply_async(link=add(2))


def test_an_empty_chain_sends_nothing() -> None:
    assert chain([]).apply_async() is None
    assert chain()() is None


def test_freeze_tells_the_ids_of_all_parts_beforehand() -> None:
    canvas = add(1) | group(add(2), add(3)) | xsum()
    canvas._app = Sender()
    result = canvas.freeze("last")
    assert (result.id, canvas.id) == ("last", "last")
    header = result.parent
    assert (header.kind, [child.id for child in header.children]) == ("group", [t.id for t in canvas.tasks[1].tasks])
    assert header.parent.id == canvas.tasks[0].id
    assert canvas.freeze("other").id == "last"


def test_a_signature_that_stands_twice_in_a_group_gets_two_ids() -> None:
    same = add(1)
    first, second = group(same, same).freeze_node().children
    assert first.id != second.id
    assert same.id is None


# -- stamps ----------------------------------------------------------------------------------------------------------


class Stamps(StampingVisitor):
    def on_signature(self, sig: Signature, **headers: Any) -> dict[str, Any]:
        return {"seen": sig.task}

    def on_group_start(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"in_group": True}


def test_a_visitor_stamps_every_task() -> None:
    canvas = add(1) | group(add(2), add(3))
    canvas.tasks[0].link(xsum())
    canvas.stamp(Stamps(), who="me")
    first, last = canvas.tasks[0], canvas.tasks[1].tasks[1]
    assert {k: v for k, v in first.options.items() if k != "link"} == {
        "who": "me",
        "seen": "p.add",
        "stamped_headers": ["who", "seen"],
    }
    assert last.options["in_group"] is True
    assert first.options["link"][0].options["seen"] == "p.xsum"


def test_callbacks_that_came_as_json_are_stamped() -> None:
    canvas = add(1).set(link=[add(2) | xsum()], link_error=add(3))
    restored = signature(json.loads(json.dumps(canvas)))
    restored.stamp(who="me")
    assert [sig.options.get("who") for sig in restored.options["link"][0].tasks] == ["me", "me"]
    assert restored.options["link_error"][0].options["who"] == "me"


def test_a_second_stamp_replaces_the_first_unless_told_to_append() -> None:
    assert add(1).stamp(a=1).stamp(a=2).options["a"] == 2
    assert add(1).stamp(a=1).stamp(append_stamps=True, a=2).options["a"] == [1, 2]


def test_a_signature_may_have_attributes_of_its_own():
    sig = Signature("t")
    sig.label = "mine"
    assert (sig.label, dict(sig)["task"]) == ("mine", "t")


def test_an_immutable_copy_takes_no_result() -> None:
    copy = add(2).clone(immutable=True)
    assert copy.immutable
    assert copy.options == {}
    assert copy.clone().immutable
    assert not add(2).clone().immutable


def test_a_registered_class_of_one_s_own_comes_back_from_its_dict() -> None:
    @Signature.register_type("own_group")
    class OwnGroup(group):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self["subtask_type"] = "own_group"

    try:
        made = OwnGroup([add(1), add(2)])
        assert type(Signature.from_dict(json.loads(json.dumps(made)))) is OwnGroup
    finally:
        del Signature.TYPES["own_group"]
