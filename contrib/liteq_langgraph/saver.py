"""`LiteQSaver`: LangGraph's checkpointer in a liteq file. A thread grows by what is new in it."""

from __future__ import annotations

import asyncio
import builtins
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import orjson
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from liteq.storage.graphs import records
from liteq.storage.graphs.records import LIST, Key, Loaded
from liteq_langgraph.packing import Known, Packed, empty, pack, pack_value, seen, unpack
from liteq_langgraph.place import Home, hold_in
from liteq_langgraph.serde import StrictSerializer

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from liteq.context import App
    from liteq.message import Hold
    from liteq.storage.facades.keeping.graphs import Graphs

__all__ = ["LiteQSaver"]

KEEP_LATEST, DELETE = "keep_latest", "delete"
DELTAS = "counters_since_delta_snapshot"  # in the metadata: the channels that are rebuilt from their history
DIGITS = 10  # of a version's number, so that versions compare as texts


class LiteQSaver(BaseCheckpointSaver[Any]):
    """Checkpoints in an app's queue, or in the file of a URL, which is made and migrated.

    serde: the serializer; by default a StrictSerializer, which refuses at `put` what it would not read again, with the
    channel's name. All methods may be called from any thread and process, the plain ones inside an event loop too.
    Inside a run each write holds only under its lease (LeaseLost), and is progress of the run.
    """

    def __init__(self, where: App | str, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde or StrictSerializer())
        self._home = Home(where)
        self._known = Known()

    @property
    def _graphs(self) -> Graphs:
        return self._home.storage.graphs

    def close(self) -> None:
        """Close the file of a URL; an app's stays open."""
        self._home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- writing -----------------------------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint. Raises NotSerializable, which names the channel, and LeaseLost inside a run."""
        thread, ns, parent = _place(config)
        values: Mapping[str, Any] = checkpoint["channel_values"]
        rest = {k: v for k, v in checkpoint.items() if k not in {"channel_values", "channel_versions"}}
        told = get_checkpoint_metadata(config, metadata)
        form, body = self.serde.dumps_typed({"checkpoint": rest, "metadata": told})
        run, versions = told.get("run_id"), orjson.dumps(checkpoint["channel_versions"])
        row = records.Checkpoint(
            thread, ns, checkpoint["id"], parent, None if run is None else str(run), versions, form, body
        )
        storage = self._home.storage
        hold = hold_in(storage)
        try:
            packed = self._put(storage.graphs, row, values, new_versions, hold, fresh=False)
        except records.Gone:  # another process has deleted what the lists are built on: they are written whole
            self._known.forget(thread)
            packed = self._put(storage.graphs, row, values, new_versions, hold, fresh=True)
        self._home.wrote()
        for one in packed:
            if one.before is not None:
                self._known.keep(thread, ns, one.value.channel, one.before)
        return _config(row.key)

    def _put(
        self, graphs: Graphs, row: records.Checkpoint, values: Mapping[str, Any], versions: ChannelVersions,
        hold: Hold | None, *, fresh: bool,
    ) -> Sequence[Packed]:  # fmt: skip
        """Store a checkpoint and the values that are new in it; `fresh`: each of them by itself."""
        packed = []
        for channel, version in versions.items():
            if channel not in values:
                packed.append(empty(channel, str(version)))
                continue
            before = None if fresh else self._known.get(row.thread, row.ns, channel)
            packed.append(pack(self.serde, channel, str(version), values[channel], before))
        blobs = {hash_: blob for one in packed for hash_, blob in one.blobs.items()}
        graphs.put(row, [one.value for one in packed], blobs, hold)
        return packed

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task that are pending at a checkpoint. Raises as `put`."""
        thread, ns, id_ = _place(config)
        rows, blobs = [], {}
        for at, (channel, value) in enumerate(writes):
            form, data, its = pack_value(self.serde, f"a write to the channel {channel!r}", value)
            blobs.update(its)
            rows.append(records.Write(task_id, WRITES_IDX_MAP.get(channel, at), task_path, channel, form, data))
        storage = self._home.storage
        storage.graphs.put_writes(Key(thread, ns, id_ or ""), rows, blobs, hold_in(storage))
        self._home.wrote()

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread."""
        self._known.forget(str(thread_id))
        self._graphs.delete_thread(str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata bears one of these run ids."""
        self._graphs.delete_for_runs([str(one) for one in run_ids])

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, with all of its history. Raises ValueError where the target has checkpoints."""
        self._graphs.copy(str(source_thread_id), str(target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        """Delete all checkpoints of threads ("delete"), or all but the latest of each namespace ("keep_latest").

        Those from which the channels of the latest are rebuilt stay: a DeltaChannel's, back to its last snapshot.
        """
        if strategy not in {KEEP_LATEST, DELETE}:
            raise ValueError(f"unknown strategy {strategy!r}; use 'keep_latest' or 'delete'")
        for thread in map(str, thread_ids):
            if strategy == DELETE:
                self.delete_thread(thread)
                continue
            for ns in self._graphs.namespaces(thread):
                latest = self._graphs.load(thread, ns)
                if latest is not None:
                    self._graphs.prune(thread, ns, {latest.checkpoint.id, *self._history_of(latest)})

    def _history_of(self, one: Loaded) -> Sequence[str]:
        """The ids of the ancestors that a checkpoint's channels are rebuilt from."""
        deltas = self._body(one)[1].get(DELTAS) or {}
        channels = [channel for channel in deltas if channel not in one.values]
        if not channels:
            return []
        thread, ns, id_ = one.checkpoint.key
        return [ancestor.checkpoint.id for ancestor in self._graphs.branch(thread, ns, id_, channels)]

    def own(self, hold: Hold, thread: str) -> None:
        """Note that a thread is a run's own, and leaves with it. Raises LeaseLost."""
        self._graphs.own(hold, thread)

    # -- reading -----------------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A checkpoint: that of the config's id, else the latest of its thread and namespace; None where none is."""
        thread, ns, id_ = _place(config)
        found = self._graphs.load(thread, ns, id_)
        return None if found is None else self._tuple(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, the newest first; `filter`: what their metadata has to hold."""
        left = limit
        for key in self._keys(config, before, None if filter else limit):
            if left is not None and left <= 0:
                return
            found = self._listed(key, filter)
            if found is not None:
                left = None if left is None else left - 1
                yield found

    def _keys(self, config: RunnableConfig | None, before: RunnableConfig | None, limit: int | None) -> Sequence[Key]:
        asked: Mapping[str, Any] = config["configurable"] if config else {}
        thread = asked.get("thread_id")
        return self._graphs.keys(
            thread=None if thread is None else str(thread),
            ns=asked.get("checkpoint_ns"),
            id_=get_checkpoint_id(config) if config else None,
            before=get_checkpoint_id(before) if before else None,
            limit=limit,
        )

    def _listed(self, key: Key, wanted: Mapping[str, Any] | None) -> CheckpointTuple | None:
        found = self._graphs.load(*key)
        if found is None:  # it has left meanwhile
            return None
        if wanted:
            metadata: Mapping[str, Any] = self._body(found)[1]
            if any(metadata.get(name) != value for name, value in wanted.items()):
                return None
        return self._tuple(found)

    def _body(self, one: Loaded) -> tuple[dict[str, Any], dict[str, Any]]:
        document = self.serde.loads_typed((one.checkpoint.form, one.checkpoint.body))
        return document["checkpoint"], document["metadata"]

    def _tuple(self, one: Loaded) -> CheckpointTuple:
        row = one.checkpoint
        rest, metadata = self._body(one)
        values = {}
        for channel, value in one.values.items():
            values[channel] = found = unpack(self.serde, value.form, value.data, one.blobs)
            if value.form == LIST:
                self._known.keep(row.thread, row.ns, channel, seen(value.version, found, value.data))
        checkpoint: Any = {**rest, "channel_values": values, "channel_versions": orjson.loads(row.versions)}
        parent = None if row.parent is None else _config(Key(row.thread, row.ns, row.parent))
        return CheckpointTuple(_config(row.key), checkpoint, metadata, parent, self._writes(one))  # type: ignore[arg-type]

    def _writes(self, one: Loaded) -> builtins.list[PendingWrite]:
        return [(w.task, w.channel, unpack(self.serde, w.form, w.data, one.blobs)) for w in one.writes]

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """The writes to each of `channels` since its last stored value, which is its `seed`; in one read."""
        if not channels:
            return {}
        thread, ns, id_ = _place(config)
        found: dict[str, DeltaChannelHistory] = {channel: {"writes": []} for channel in channels}
        for ancestor in self._graphs.branch(thread, ns, id_, channels):  # the nearest first
            by_channel: dict[str, Any] = {}
            for write in self._writes(ancestor):
                by_channel.setdefault(write[1], []).append(write)
            for channel, written in by_channel.items():
                found[channel]["writes"][:0] = written
            for channel, value in ancestor.values.items():
                found[channel]["seed"] = unpack(self.serde, value.form, value.data, ancestor.blobs)
        return found

    def get_next_version(self, current: Any, channel: None) -> Any:
        """The version after `current`: a number and what tells two branches of a thread apart."""
        if isinstance(current, (int, float)):  # of a thread that another saver began
            return int(current) + 1
        head = "0" if current is None else str(current).partition(".")[0]
        return f"{int(head) + 1:0{max(DIGITS, len(head))}d}.{random.getrandbits(32):08x}"

    # -- the same, awaited -------------------------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        left = limit
        for key in await asyncio.to_thread(self._keys, config, before, None if filter else limit):
            if left is not None and left <= 0:
                return
            found = await asyncio.to_thread(self._listed, key, filter)
            if found is not None:
                left = None if left is None else left - 1
                yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = KEEP_LATEST) -> None:
        await asyncio.to_thread(self.prune, thread_ids, strategy=strategy)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await asyncio.to_thread(self.get_delta_channel_history, config=config, channels=channels)


def _place(config: RunnableConfig) -> tuple[str, str, str | None]:
    """The thread, the namespace and the checkpoint's id of a config."""
    asked = config["configurable"]
    return str(asked["thread_id"]), asked.get("checkpoint_ns", ""), asked.get("checkpoint_id") or None


def _config(key: Key) -> RunnableConfig:
    return {"configurable": {"thread_id": key.thread, "checkpoint_ns": key.ns, "checkpoint_id": key.id}}
