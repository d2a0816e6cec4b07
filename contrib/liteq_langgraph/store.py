"""`LiteQStore`: LangGraph's store, JSON under namespaces and keys, in a liteq file."""

from __future__ import annotations

import array
import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
)

from liteq.clock import from_ms
from liteq.serialization import decode, encode
from liteq_langgraph.place import Home

if TYPE_CHECKING:
    from liteq.context import App
    from liteq.storage.graphs.items import Item as Row

__all__ = ["LiteQStore"]

MOST = 10_000  # items that a search by meaning compares
COMPARES = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"})


class _Found(NamedTuple):
    row: Row
    value: dict[str, Any]
    score: float | None = None


class LiteQStore(BaseStore):
    """Items in an app's queue, or in the file of a URL, which is made and migrated.

    embed: an Embeddings of LangChain or a function of texts: `search(query=)` then compares the vectors of all items of
    the namespace, 10,000 at most (ValueError for more). Without it a query has no effect. fields: the paths of the
    values that are embedded; "$" is the whole. ttl: LangGraph's TTLConfig, in minutes; an item whose time is over is
    not found, and is deleted by the workers' retention.
    """

    supports_ttl = True

    def __init__(
        self, where: App | str, *, embed: Any = None, fields: Sequence[str] = ("$",), ttl: TTLConfig | None = None
    ) -> None:
        self._home = Home(where)
        self.ttl_config = ttl
        self._embeddings = None if embed is None else ensure_embeddings(embed)
        self._fields = tuple(fields)

    def close(self) -> None:
        """Close the file of a URL; an app's stays open."""
        self._home.close()

    # -- batches: what BaseStore's methods call ----------------------------------------------------------------------

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do `ops`: reads see what was there before the batch, of several writes of a key the last one stays."""
        ops = list(ops)
        texts = {op.query: [0.0] for op in ops if isinstance(op, SearchOp) and op.query}
        if self._embeddings is not None and texts:
            texts = {text: self._embeddings.embed_query(text) for text in texts}
        results = [self._read(op, texts) for op in ops]
        wanted = self._wanted(ops)
        vectors = self._embeddings.embed_documents(wanted) if self._embeddings is not None and wanted else []
        self._write(ops, dict(zip(wanted, vectors, strict=True)) if vectors else {})
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`."""
        ops = list(ops)
        texts = {op.query: [0.0] for op in ops if isinstance(op, SearchOp) and op.query}
        if self._embeddings is not None and texts:
            texts = {text: await self._embeddings.aembed_query(text) for text in texts}
        results = await asyncio.to_thread(lambda: [self._read(op, texts) for op in ops])
        wanted = self._wanted(ops)
        vectors = await self._embeddings.aembed_documents(wanted) if self._embeddings is not None and wanted else []
        await asyncio.to_thread(self._write, ops, dict(zip(wanted, vectors, strict=True)) if vectors else {})
        return results

    def _read(self, op: Op, texts: Mapping[str, list[float]]) -> Result:
        match op:
            case GetOp():
                return self._get(op)
            case SearchOp():
                return self._search(op, texts)
            case ListNamespacesOp():
                return self._namespaces(op)
            case PutOp():
                return None
            case _:
                raise ValueError(f"unknown operation {op!r}: use get, put, delete, search and list_namespaces")

    # -- writing -----------------------------------------------------------------------------------------------------

    def _texts(self, op: PutOp) -> list[str]:
        """The texts of a value that are embedded."""
        if self._embeddings is None or op.value is None or op.index is False:
            return []
        paths = self._fields if op.index is None else op.index
        return [
            text for path in paths for text in get_text_at_path(op.value, path if path == "$" else tokenize_path(path))
        ]

    def _wanted(self, ops: Sequence[Op]) -> list[str]:
        return list(dict.fromkeys(text for op in ops if isinstance(op, PutOp) for text in self._texts(op)))

    def _write(self, ops: Sequence[Op], vectors: Mapping[str, list[float]]) -> None:
        puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        rows = []
        for (namespace, key), op in puts.items():
            value = vector = None
            if op.value is not None:
                value = encode(dict(op.value), what=f"the item {key!r} of {'.'.join(namespace)}")
                found = [vectors[text] for text in self._texts(op) if text in vectors]
                vector = _packed(found) if found else None
            ttl_ms = None if op.ttl is None else int(op.ttl * 60_000)
            rows.append((".".join(namespace), str(key), value, vector, ttl_ms))
        if rows:
            self._home.storage.graphs.put_items(rows)
            self._home.wrote()

    # -- reading -----------------------------------------------------------------------------------------------------

    def _get(self, op: GetOp) -> Item | None:
        graphs = self._home.storage.graphs
        place = (".".join(op.namespace), str(op.key))
        (row,) = graphs.items([place])
        if row is None:
            return None
        if op.refresh_ttl and row.ttl_ms is not None:
            graphs.touch([place])
        return Item(
            value=decode(row.value), key=row.key, namespace=_namespace(row.prefix),
            created_at=from_ms(row.created_ms), updated_at=from_ms(row.updated_ms),
        )  # fmt: skip

    def _search(self, op: SearchOp, texts: Mapping[str, list[float]]) -> list[SearchItem]:
        graphs = self._home.storage.graphs
        prefix = ".".join(op.namespace_prefix)
        ranked = bool(op.query) and self._embeddings is not None
        limit = MOST + 1 if ranked else None if op.filter else op.offset + op.limit
        rows = graphs.search(prefix, first=f"{prefix}.", last=f"{prefix}/", limit=limit)
        if ranked and len(rows) > MOST:
            raise ValueError(
                f"more than {MOST:,} items below {op.namespace_prefix!r}: a search by meaning compares them one by one;"
                " name a narrower namespace, or keep the vectors in a store for them"
            )
        found = [_Found(row, decode(row.value)) for row in rows]
        found = [
            one for one in found if all(_fits(one.value.get(name), want) for name, want in (op.filter or {}).items())
        ]
        if ranked:
            found = _ranked(found, texts[str(op.query)])
        found = found[op.offset : op.offset + op.limit]
        if op.refresh_ttl and (kept := [(one.row.prefix, one.row.key) for one in found if one.row.ttl_ms is not None]):
            graphs.touch(kept)
        return [
            SearchItem(
                _namespace(one.row.prefix), one.row.key, one.value, from_ms(one.row.created_ms),
                from_ms(one.row.updated_ms), one.score,
            )
            for one in found
        ]  # fmt: skip

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        found = [_namespace(prefix) for prefix in self._home.storage.graphs.prefixes()]
        found = [one for one in found if all(_matches(condition, one) for condition in op.match_conditions or ())]
        if op.max_depth is not None:
            found = list({one[: op.max_depth] for one in found})
        return sorted(found)[op.offset : op.offset + op.limit]


def _namespace(prefix: str) -> tuple[str, ...]:
    return tuple(prefix.split(".")) if prefix else ()


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(want in ("*", one) for one, want in zip(part, path, strict=True))


# -- filters ---------------------------------------------------------------------------------------------------------


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is as a filter wants it. Raises ValueError for an unknown comparison."""
    if isinstance(wanted, dict):
        if any(name.startswith("$") for name in wanted):
            return all(_compares(value, name, other) for name, other in wanted.items())
        return isinstance(value, dict) and all(_fits(value.get(name), other) for name, other in wanted.items())
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(_fits(one, other) for one, other in zip(value, wanted, strict=True))
        )
    return bool(value == wanted)


def _compares(value: Any, name: str, other: Any) -> bool:
    if name not in COMPARES:
        raise ValueError(f"unknown comparison {name!r}; use one of {', '.join(sorted(COMPARES))}")
    if name in {"$eq", "$ne"}:
        return bool((value == other) is (name == "$eq"))
    try:
        mine, theirs = float(value), float(other)
    except (TypeError, ValueError):
        return False
    return {"$gt": mine > theirs, "$gte": mine >= theirs, "$lt": mine < theirs, "$lte": mine <= theirs}[name]


# -- vectors: the texts of an item, one behind the other -------------------------------------------------------------


def _packed(vectors: Sequence[Sequence[float]]) -> bytes:
    return len(vectors).to_bytes(4, "little") + array.array("f", [x for one in vectors for x in one]).tobytes()


def _unpacked(data: bytes) -> list[Sequence[float]]:
    n = int.from_bytes(data[:4], "little")
    flat = array.array("f")
    flat.frombytes(data[4:])
    size = len(flat) // n
    return [flat[at * size : (at + 1) * size] for at in range(n)]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(map(mul, one, other)) / lengths if lengths else 0.0


def _ranked(found: Sequence[_Found], query: Sequence[float]) -> list[_Found]:
    """The nearest first, by the nearest of an item's texts; behind them those without a vector."""
    scored = [
        one._replace(score=max(_cosine(query, vector) for vector in _unpacked(one.row.vector)))
        if one.row.vector
        else one
        for one in found
    ]
    return sorted(scored, key=lambda one: -2.0 if one.score is None else one.score, reverse=True)
