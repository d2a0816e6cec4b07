"""The saver beyond conformance: a thread grows by what is new, leaves nothing behind, and loads nothing foreign."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Overwrite

from liteq.exceptions import NotSerializable
from liteq_langgraph import LiteQSaver, StrictSerializer

from .graphs import at, chat, line, rows, say, texts_of

NO_ROWS = {"checkpoints": 0, "writes": 0, "values": 0, "blobs": 0}


def on_disk(path: Path) -> int:
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


class Markup(str):  # noqa: SLOT000 - these have no slots
    """A text as other libraries have it."""


class Items(TypedDict):
    items: list[Any]


ALIKE = [
    (Counter(a=1), Counter(a=2)),
    ({"x": Markup("a")}, {"x": Markup("b")}),
    ({"x": Decimal("1.0")}, {"x": Decimal("1.00")}),
    ({"x": datetime(2026, 1, 1, 12, tzinfo=UTC)}, {"x": datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))}),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_an_element_that_looks_as_the_one_before_is_stored_as_it_is(tmp_path: Path, one: Any, other: Any) -> None:
    """Its content is no attribute of it, or is equal and not the same."""
    builder = StateGraph(Items)
    builder.add_node("one", lambda state: {"items": [one]})
    builder.add_node("other", lambda state: {"items": [other]})
    builder.add_edge(START, "one")
    builder.add_edge("one", "other")
    with LiteQSaver(f"sqlite:///{tmp_path}/g.db") as saver:
        builder.compile(checkpointer=saver).invoke({"items": []}, at("t"))
        (found,) = saver.get_tuple(at("t")).checkpoint["channel_values"]["items"]
        assert repr(found) == repr(StrictSerializer().loads_typed(StrictSerializer().dumps_typed(other)))


@pytest.mark.timeout(300)
def test_200_turns_of_2_kb_take_5_mb_at_most(tmp_path: Path) -> None:
    """With its log. The reference saver takes 210 MB."""
    with LiteQSaver(f"sqlite:///{tmp_path}/g.db") as saver:
        state = say(chat().compile(checkpointer=saver), "t", 200)
    assert len(state["messages"]) == 400
    assert on_disk(tmp_path / "g.db") <= 5_000_000


class Counting(StrictSerializer):
    def __init__(self) -> None:
        super().__init__()
        self.dumped: list[Any] = []

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        self.dumped.append(obj)
        return super().dumps_typed(obj)


def put_list(saver: LiteQSaver, elements: list[Any], parent: Any = None) -> Any:
    """A checkpoint whose one channel holds `elements`; its config."""
    config = parent or at("t", checkpoint_ns="")
    before = saver.get_tuple(config)
    versions = dict(before.checkpoint["channel_versions"]) if before else {}
    version = saver.get_next_version(versions.get("messages"), None)
    checkpoint: Any = {
        "v": 1, "id": f"{int(version.partition('.')[0]):08d}-{version[-8:]}", "ts": "", "versions_seen": {},
        "channel_values": {"messages": elements}, "channel_versions": {**versions, "messages": version},
    }  # fmt: skip
    return saver.put(config, checkpoint, {"source": "loop", "step": 0}, {"messages": version})


def held(saver: LiteQSaver, config: Any) -> list[Any]:
    found = saver.get_tuple(config)
    assert found is not None
    return found.checkpoint["channel_values"]["messages"]


def test_only_new_elements_are_serialized(saver: LiteQSaver) -> None:
    counting = saver.serde = Counting()
    elements: list[Any] = [HumanMessage(f"m{n}", id=str(n)) for n in range(50)]
    config = put_list(saver, elements)
    counting.dumped.clear()
    elements = [*elements, HumanMessage("new", id="50")]
    put_list(saver, elements, config)
    assert [one.content for one in counting.dumped if isinstance(one, HumanMessage)] == ["new"]


def test_a_list_that_was_read_is_the_one_of_before(saver: LiteQSaver) -> None:
    config = put_list(saver, [HumanMessage(f"m{n}", id=str(n)) for n in range(50)])
    counting = Counting()
    with LiteQSaver(saver._home.storage.driver.url, serde=counting) as other:  # as another process
        elements = held(other, config)
        counting.dumped.clear()
        following = put_list(other, [*elements, HumanMessage("new", id="50")], config)
        assert [one.content for one in counting.dumped if isinstance(one, HumanMessage)] == ["new"]
        assert [one.content for one in held(other, following)] == [*(f"m{n}" for n in range(50)), "new"]


@pytest.mark.parametrize("change", ["field", "nested", "extra"])
def test_an_element_that_was_changed_in_place_is_stored_anew(saver: LiteQSaver, change: str) -> None:
    message: Any = AIMessage("old", id="1", additional_kwargs={"k": {"deep": [1]}})
    config = put_list(saver, [message, HumanMessage("other", id="2")])
    if change == "field":
        message.content = "new"
    elif change == "nested":
        message.additional_kwargs["k"]["deep"].append(2)
    else:
        message.added = "new"
    following = put_list(saver, [message, HumanMessage("other", id="2")], config)
    assert held(saver, config)[0].content == "old"
    assert held(saver, following)[0] == message


def test_elements_leave_and_change_in_the_middle(saver: LiteQSaver) -> None:
    lists = [
        [1, 2, *range(20)],
        [{"n": n} for n in range(30)],
        [{"n": n} for n in range(0, 30, 2)],
        [{"n": 7}, *({"n": n} for n in range(10))],
        [],
        [{"n": 1}],
    ]
    configs, config = [], None
    for elements in lists:
        config = put_list(saver, elements, config)
        configs.append(config)
    assert [held(saver, one) for one in configs] == lists


def test_a_long_thread_is_read_at_each_of_its_checkpoints(saver: LiteQSaver) -> None:
    """Over the versions after which a list stands by itself again."""
    elements: list[Any] = [{"n": n} for n in range(10)]
    configs, config = [], None
    for n in range(150):
        elements = [*elements, {"n": n}]
        config = put_list(saver, elements, config)
        configs.append((config, elements))
    assert all(held(saver, one) == expected for one, expected in configs)


def test_two_branches_of_a_thread_keep_their_own_lists(saver: LiteQSaver) -> None:
    root = put_list(saver, [{"n": n} for n in range(20)])
    left = put_list(saver, [*held(saver, root), {"side": "left"}], root)
    right = put_list(saver, [*held(saver, root), {"side": "right"}], root)
    assert [held(saver, one)[-1] for one in (left, right, root)] == [{"side": "left"}, {"side": "right"}, {"n": 19}]


def test_a_version_that_is_put_again_replaces_what_others_are_built_on(saver: LiteQSaver) -> None:
    """Threads that another saver began have whole numbers: two branches may have the same."""
    elements = [{"n": n} for n in range(20)]

    def put(id_: str, version: int, value: list[Any]) -> Any:
        checkpoint: Any = {
            "v": 1, "id": id_, "ts": "", "versions_seen": {}, "channel_values": {"messages": value},
            "channel_versions": {"messages": version},
        }  # fmt: skip
        return saver.put(at("t", checkpoint_ns=""), checkpoint, {}, {"messages": version})

    put("1", 1, elements)
    second = put("2", 2, [*elements, {"n": "two"}])
    third = put("3", 1, [{"n": "other"}] * 9)
    assert held(saver, second) == [*elements, {"n": "two"}]
    assert held(saver, third) == [{"n": "other"}] * 9
    saver.delete_thread("t")
    assert rows(saver) == NO_ROWS


def test_a_list_whose_thread_another_process_deleted_is_written_whole(saver: LiteQSaver) -> None:
    elements = [{"n": n} for n in range(20)]
    config = put_list(saver, elements)
    with LiteQSaver(saver._home.storage.driver.url) as other:
        other.delete_thread("t")
    assert held(saver, put_list(saver, [*elements, {"n": 20}], config)) == [*elements, {"n": 20}]


# -- what leaves -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["delete_thread", "prune", "delete_for_runs"])
def test_nothing_stays_of_a_thread_that_is_deleted(saver: LiteQSaver, how: str) -> None:
    graph = chat().compile(checkpointer=saver)
    for n in range(3):
        graph.invoke({"messages": [HumanMessage("x" * 500)]}, {**at("t"), "metadata": {"run_id": f"r{n}"}})
    if how == "delete_thread":
        saver.delete_thread("t")
    elif how == "prune":
        saver.prune(["t"], strategy="delete")
    else:
        saver.delete_for_runs(["r0", "r1", "r2"])
    assert rows(saver) == NO_ROWS


def test_a_pruned_thread_goes_on_where_it_was(saver: LiteQSaver) -> None:
    graph = chat().compile(checkpointer=saver)
    before = texts_of(say(graph, "t", 5))
    full = rows(saver)
    saver.prune(["t"])
    assert rows(saver)["checkpoints"] == 1
    assert rows(saver)["values"] < full["values"]
    assert texts_of(graph.get_state(at("t")).values) == before
    assert texts_of(say(graph, "t", 1))[:10] == before


def test_a_copy_is_a_thread_of_its_own(saver: LiteQSaver) -> None:
    graph = chat().compile(checkpointer=saver)
    before = texts_of(say(graph, "t", 3))
    saver.copy_thread("t", "other")
    say(graph, "other", 1)
    saver.delete_thread("t")
    assert texts_of(graph.get_state(at("other")).values)[:6] == before
    with pytest.raises(ValueError, match="has checkpoints"):
        saver.copy_thread("other", "other")
    saver.delete_thread("other")
    assert rows(saver) == NO_ROWS


def test_a_delta_channel_is_rebuilt_after_a_prune(saver: LiteQSaver) -> None:
    builder = StateGraph(Deltas)
    builder.add_node("add", lambda state: {"items": [len(state["items"])]})
    builder.add_edge(START, "add")
    builder.add_edge("add", END)
    graph = builder.compile(checkpointer=saver)
    for n in range(10):
        graph.invoke({"items": [f"in{n}"]}, at("t"))
    before = graph.get_state(at("t")).values
    assert len(before["items"]) == 20
    saver.prune(["t"])
    assert rows(saver)["checkpoints"] < 30
    assert graph.get_state(at("t")).values == before
    assert graph.invoke({"items": ["more"]}, at("t"))["items"][:21] == [*before["items"], "more"]


# -- the strict serializer -------------------------------------------------------------------------------------------


def joined(value: Any, writes: Any) -> Any:
    return [*(value or []), *(one for write in writes for one in write)]


class Deltas(TypedDict):
    items: Annotated[list[Any], DeltaChannel(joined, list, snapshot_frequency=7)]


@dataclasses.dataclass
class Order:
    number: int


def test_an_undeclared_class_is_refused_with_its_channel(saver: LiteQSaver) -> None:
    with pytest.raises(NotSerializable, match=r"the channel 'messages': .*Order.*StrictSerializer\(\[Order\]\)"):
        put_list(saver, [Order(1)])
    with pytest.raises(NotSerializable, match=r"a write to the channel 'order': .*Order"):
        saver.put_writes(at("t", checkpoint_id="1"), [("order", Order(1))], "task")
    assert rows(saver) == NO_ROWS


def test_a_declared_class_comes_back(tmp_path: Path) -> None:
    with LiteQSaver(f"sqlite:///{tmp_path}/g.db", serde=StrictSerializer([Order])) as saver:
        assert held(saver, put_list(saver, [Order(1), {"inside": Order(2)}])) == [Order(1), {"inside": Order(2)}]


def test_a_class_that_no_list_names_is_not_imported(saver: LiteQSaver, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "hostile.py").write_text("from pathlib import Path\nPath('imported').touch()\nclass Bad: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = type(sys)("hostile")
    bad = dataclasses.make_dataclass("Bad", ["x"])
    bad.__module__ = "hostile"
    module.Bad = bad  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hostile", module)
    with LiteQSaver(saver._home.storage.driver.url, serde=JsonPlusSerializer()) as permissive:
        config = put_list(permissive, [bad(1)])
    monkeypatch.delitem(sys.modules, "hostile")
    assert held(saver, config) == [{"x": 1}]
    assert not (tmp_path / "imported").exists()
    assert "hostile" not in sys.modules


def test_a_graph_with_removals_and_overwrites_is_stored(saver: LiteQSaver) -> None:
    graph = chat().compile(checkpointer=saver)
    state = say(graph, "t", 2)
    graph.update_state(at("t"), {"messages": [RemoveMessage(state["messages"][0].id)]})
    assert texts_of(graph.get_state(at("t")).values) == texts_of(state)[1:]
    plain = line(lambda state: {"seen": Overwrite(["only"])}).compile(checkpointer=saver)
    assert plain.invoke({"seen": ["a"]}, at("p"))["seen"] == ["only"]
