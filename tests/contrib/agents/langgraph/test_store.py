"""The store: items under namespaces, filters, time to live, search by meaning. And the cache of nodes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import GetOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy

from liteq import LiteQ
from liteq_langgraph import LiteQCache, LiteQStore
from liteq_langgraph import store as store_module

from .graphs import Seen

ITEMS = {
    (("users", "ann"), "prefs"): {"theme": "dark", "age": 30, "tags": ["a", "b"]},
    (("users", "bob"), "prefs"): {"theme": "light", "age": 20, "where": {"city": "Rome"}},
    (("users", "bob", "old"), "prefs"): {"theme": "dark", "age": 40},
    (("users2",), "x"): {"theme": "dark"},
}


@pytest.fixture(params=[LiteQStore, InMemoryStore], ids=["liteq", "reference"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Both say the same."""
    made = LiteQStore(f"sqlite:///{tmp_path}/s.db") if request.param is LiteQStore else InMemoryStore()
    for (namespace, key), value in ITEMS.items():
        made.put(namespace, key, value)
    return made


def found(items: list[Any]) -> set[tuple[str, ...]]:
    return {(*one.namespace, one.key) for one in items}


def test_a_value_comes_back_as_it_was_put(store: Any) -> None:
    value = {
        "at": datetime(2026, 11, 30, tzinfo=UTC),
        "price": Decimal("1.50"),
        "wei": 10**20,
        "in": {"__type__": "int"},
    }
    store.put(("users",), "rich", value)
    assert store.get(("users",), "rich").value == value
    assert [one.value for one in store.search(("users",), filter={"wei": 10**20})] == [value]


def test_items_are_put_got_and_deleted(store: Any) -> None:
    item = store.get(("users", "ann"), "prefs")
    assert item.value == ITEMS[("users", "ann"), "prefs"]
    store.put(("users", "ann"), "prefs", {"theme": "new"})
    assert store.get(("users", "ann"), "prefs").value == {"theme": "new"}
    store.delete(("users", "ann"), "prefs")
    assert store.get(("users", "ann"), "prefs") is None
    assert store.get(("users",), "nobody") is None


@pytest.mark.parametrize(
    ("prefix", "wanted", "names"),
    [
        ((), None, {"users.ann.prefs", "users.bob.prefs", "users.bob.old.prefs", "users2.x"}),
        (("users",), None, {"users.ann.prefs", "users.bob.prefs", "users.bob.old.prefs"}),
        (("users", "bob"), None, {"users.bob.prefs", "users.bob.old.prefs"}),
        (("users",), {"theme": "dark"}, {"users.ann.prefs", "users.bob.old.prefs"}),
        (("users",), {"age": {"$gte": 30}}, {"users.ann.prefs", "users.bob.old.prefs"}),
        (("users",), {"age": {"$gt": 20, "$lt": 40}}, {"users.ann.prefs"}),
        (("users",), {"theme": {"$ne": "dark"}}, {"users.bob.prefs"}),
        (("users",), {"where": {"city": "Rome"}}, {"users.bob.prefs"}),
        (("users",), {"tags": ["a", "b"]}, {"users.ann.prefs"}),
        (("nobody",), None, set()),
    ],
)
def test_a_search_looks_below_a_namespace_and_filters(store: Any, prefix: Any, wanted: Any, names: set[str]) -> None:
    assert {".".join(one) for one in found(store.search(prefix, filter=wanted))} == names


def test_a_search_goes_page_by_page(store: Any) -> None:
    pages = [store.search(("users",), limit=2, offset=offset) for offset in (0, 2)]
    assert [len(page) for page in pages] == [2, 1]
    assert len(found(pages[0]) | found(pages[1])) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"prefix": ("users",)}, {"suffix": ("old",)}, {"prefix": ("users", "*")}, {"max_depth": 2},
        {"max_depth": 1},
        {"limit": 1, "offset": 1},
    ],
)  # fmt: skip
def test_namespaces_are_listed_as_by_the_reference(tmp_path: Path, asked: dict[str, Any]) -> None:
    stores: list[Any] = [LiteQStore(f"sqlite:///{tmp_path}/s.db"), InMemoryStore()]
    for one in stores:
        for (namespace, key), value in ITEMS.items():
            one.put(namespace, key, value)
    assert stores[0].list_namespaces(**asked) == stores[1].list_namespaces(**asked)


def test_a_batch_reads_what_was_there_before_it(store: Any) -> None:
    ops = [
        PutOp(("b",), "k", {"n": 1}), GetOp(("b",), "k"), PutOp(("b",), "k", {"n": 2}), SearchOp(("b",)),
    ]  # fmt: skip
    assert store.batch(ops) == [None, None, None, []]
    assert asyncio.run(store.abatch([GetOp(("b",), "k")]))[0].value == {"n": 2}


def test_an_unknown_comparison_is_refused(tmp_path: Path) -> None:
    store = LiteQStore(f"sqlite:///{tmp_path}/s.db")
    store.put(("a",), "k", {"n": 1})
    with pytest.raises(ValueError, match="unknown comparison '\\$near'"):
        store.search(("a",), filter={"n": {"$near": 1}})
    assert store.search(("a",), filter={"n": {"$gt": "many"}}) == []


def test_an_item_leaves_when_its_time_is_over(app: LiteQ) -> None:
    store = LiteQStore(app, ttl={"default_ttl": 10, "refresh_on_read": False})
    store.put(("a",), "short", {"n": 1})
    store.put(("a",), "long", {"n": 2}, ttl=30)
    store.put(("a",), "ever", {"n": 3}, ttl=None)
    app.clock.advance(11 * 60)
    assert store.get(("a",), "short") is None
    assert {one.key for one in store.search(("a",))} == {"long", "ever"}
    assert app.storage.runs.expire(None) == 1, "the workers' retention deletes it"
    app.clock.advance(18 * 60)
    assert store.get(("a",), "long", refresh_ttl=True) is not None
    app.clock.advance(20 * 60)
    assert store.get(("a",), "long") is not None, "its read had it begin anew"


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(text.count("cat")), float(text.count("dog")), 0.1] for text in texts]


@pytest.mark.parametrize("how", ["plain", "awaited"])
def test_a_query_ranks_by_meaning(tmp_path: Path, how: str) -> None:
    store = LiteQStore(f"sqlite:///{tmp_path}/s.db", embed=embed, fields=["text"])
    store.put(("a",), "cats", {"text": "cat cat", "n": 1})
    store.put(("a",), "dogs", {"text": "dog", "n": 1})
    store.put(("a",), "none", {"text": "cat", "n": 2}, index=False)
    if how == "plain":
        ranked = store.search(("a",), query="a dog", limit=3)
    else:
        ranked = asyncio.run(store.asearch(("a",), query="a dog", limit=3))
    assert [one.key for one in ranked] == ["dogs", "cats", "none"]
    assert ranked[0].score > 0.9 > ranked[1].score > 0
    assert ranked[2].score is None
    assert [one.key for one in store.search(("a",), query="dog", filter={"n": 2})] == ["none"]
    unasked = store.search(("a",), query="") if how == "plain" else asyncio.run(store.asearch(("a",), query=""))
    assert {(one.key, one.score) for one in unasked} == {("cats", None), ("dogs", None), ("none", None)}


def test_a_search_by_meaning_over_too_many_items_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MOST", 3)
    store = LiteQStore(f"sqlite:///{tmp_path}/s.db", embed=embed)
    for n in range(4):
        store.put(("a",), str(n), {"text": "cat"})
    with pytest.raises(ValueError, match="more than 3 items"):
        store.search(("a",), query="cat")
    assert len(store.search(("a",))) == 4


# -- the cache -------------------------------------------------------------------------------------------------------


def cached_graph(cache: Any, calls: list[str]) -> Any:
    builder = StateGraph(Seen)
    builder.add_node(
        "slow", lambda state: calls.append(state["q"]) or {"seen": [state["q"]]}, cache_policy=CachePolicy(ttl=60)
    )
    builder.add_edge(START, "slow")
    builder.add_edge("slow", END)
    return builder.compile(cache=cache)


def test_a_node_with_a_policy_is_computed_once_for_all(app: LiteQ) -> None:
    calls: list[str] = []
    for cache in (LiteQCache(app), LiteQCache(app)):  # of two processes
        graph = cached_graph(cache, calls)
        assert [graph.invoke({"q": q})["seen"] for q in ("a", "b", "a")] == [["a"], ["b"], ["a"]]
        assert asyncio.run(graph.ainvoke({"q": "b"}))["seen"] == ["b"]
    assert calls == ["a", "b"]
    (row,) = app.storage.runs.memo_stats()
    assert row.name.startswith("langgraph.cache:")
    app.clock.advance(61)
    cached_graph(LiteQCache(app), calls).invoke({"q": "a"})
    assert calls == ["a", "b", "a"]
    assert app.storage.runs.expire(None) == 1, "of two that were over one has come anew"


@pytest.mark.parametrize("kind", [LiteQCache, InMemoryCache], ids=["liteq", "reference"])
def test_namespaces_of_the_cache_are_cleared(app: LiteQ, kind: type[Any]) -> None:
    cache = LiteQCache(app) if kind is LiteQCache else InMemoryCache()
    keys: list[Any] = [(("a", "b"), "1"), (("a",), "1"), (("c",), "2")]
    cache.set({key: ({"n": 1}, None) for key in keys})
    assert cache.get(keys) == {key: {"n": 1} for key in keys}
    cache.clear([("a",)])
    assert cache.get(keys).keys() == {keys[0], keys[2]}
    cache.clear()
    assert cache.get(keys) == {}
    assert cache.get([]) == {}
