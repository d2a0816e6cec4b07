"""`LiteQCache`: LangGraph's cache of nodes, in liteq's memo."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from langgraph.cache.base import BaseCache, FullKey, Namespace

from liteq_langgraph.place import Home
from liteq_langgraph.serde import StrictSerializer

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from liteq.context import App

__all__ = ["LiteQCache"]

FIRST, LAST = "langgraph.cache:", "langgraph.cache;"  # of the names: what is between the two is the cache's


class LiteQCache(BaseCache[Any]):
    """Results of nodes with a `cache_policy`, for all processes: entries of the memo, shown by `liteq memo`."""

    def __init__(self, where: App | str, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde or StrictSerializer())
        self._home = Home(where)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """The values that are there."""
        found = self._home.storage.graphs.cached([_key(key) for key in keys]) if keys else []
        return {(tuple(key[0]), key[1]): self._loaded(one) for key, one in zip(keys, found, strict=True) if one}

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Store values, each for its seconds; None: for ever. Raises NotSerializable."""
        rows = []
        for key, (value, ttl_s) in pairs.items():
            form, data = self.serde.dumps_typed(value)
            output = orjson.dumps([form, b64encode(data).decode()])  # the memo's outputs are JSON
            rows.append((_key(key), _name(key[0]), output, None if ttl_s is None else int(ttl_s * 1000)))
        if rows:
            self._home.storage.graphs.cache(rows)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget the values of namespaces; None: of all."""
        names = None if namespaces is None else [_name(one) for one in namespaces]
        self._home.storage.graphs.clear_cache(names, first=FIRST, last=LAST)

    def close(self) -> None:
        """Close the file of a URL; an app's stays open."""
        self._home.close()

    def _loaded(self, output: bytes) -> Any:
        form, text = orjson.loads(output)
        return self.serde.loads_typed((form, b64decode(text)))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        return await asyncio.to_thread(self.get, keys)

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        await asyncio.to_thread(self.set, pairs)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        await asyncio.to_thread(self.clear, namespaces)


def _name(namespace: Namespace) -> str:
    return FIRST + "/".join(namespace)


def _key(key: FullKey) -> str:
    return f"{_name(key[0])}:{key[1]}"
