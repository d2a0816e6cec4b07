"""Threads are put, branched, copied, pruned and deleted at random: as the reference has them, and blobs are counted."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from liteq.storage.graphs.records import hashes_of
from liteq_langgraph import LiteQSaver

from ....faults.sizes import size
from .graphs import at, rows

STEPS = size("GRAPH_STEPS", 60, 2_000)
THREADS = ["a", "b", "c"]


class Both:
    """A saver and the reference, to which the same is done; two objects of the saver, as of two processes."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.savers = [LiteQSaver(f"sqlite:///{folder}/{seed}.db") for _ in range(2)]
        self.reference = InMemorySaver()
        self.n = 0

    def element(self) -> Any:
        self.n += 1
        return self.random.choice([{"n": self.n}, {"text": "x" * 300}, f"text {self.n}", "same", [self.n, {"deep": 1}]])

    def put(self) -> None:
        saver, thread = self.random.choice(self.savers), self.random.choice(THREADS)
        held = list(self.reference.list(at(thread)))
        parent = self.random.choice([held[0], self.random.choice(held)]) if held else None
        values = dict(parent.checkpoint["channel_values"]) if parent else {}
        elements = list(values.get("messages", []))
        for _ in range(self.random.randint(0, 4)):
            elements.insert(self.random.choice([len(elements), 0]), self.element())
        if elements and self.random.random() < 0.2:
            del elements[self.random.randrange(len(elements))]
        versions = dict(parent.checkpoint["channel_versions"]) if parent else {}
        new = {name: saver.get_next_version(versions.get(name), None) for name in ("messages", "x")}
        self.n += 1
        checkpoint: Any = {
            "v": 1, "id": f"{self.n:08d}", "ts": "", "versions_seen": {}, "channel_versions": {**versions, **new},
            "channel_values": {"messages": elements, "x": self.element()},
        }  # fmt: skip
        config = at(thread, checkpoint_ns="", checkpoint_id=parent.checkpoint["id"] if parent else None)
        metadata: Any = {"source": "loop", "step": self.n, "run_id": self.random.choice("rst")}
        for one in (saver, self.reference):
            saved = one.put(config, checkpoint, metadata, new)
            one.put_writes(saved, [("messages", elements[-2:]), ("x", self.n)], "task")

    def leave(self) -> None:
        saver, thread = self.random.choice(self.savers), self.random.choice(THREADS)
        held = list(self.reference.list(at(thread)))
        match self.random.choice(["delete", "prune", "copy", "runs"]):
            case "delete":
                saver.delete_thread(thread)
                self.reference.delete_thread(thread)
            case "prune":
                saver.prune([thread])
                for one in held[1:]:
                    del self.reference.storage[thread][""][one.checkpoint["id"]]
            case "copy" if held:
                self.savers[0].delete_thread("d")
                saver.copy_thread(thread, "d")
                assert [self.shape(one) for one in saver.list(at("d"))] == [self.shape(one) for one in held]
            case _:
                gone = [one for name in THREADS for one in self.reference.list(at(name), filter={"run_id": "r"})]
                saver.delete_for_runs(["r"])
                for one in gone:
                    asked = one.config["configurable"]
                    del self.reference.storage[asked["thread_id"]][""][asked["checkpoint_id"]]

    @staticmethod
    def shape(one: Any) -> Any:
        return one.checkpoint["id"], one.checkpoint["channel_values"], one.metadata["step"], one.pending_writes

    def compare(self) -> None:
        for saver in self.savers:
            for thread in THREADS:
                assert [self.shape(one) for one in saver.list(at(thread))] == [
                    self.shape(one) for one in self.reference.list(at(thread))
                ]

    def compare_counts(self) -> None:
        named: Counter[str] = Counter()
        with self.savers[0]._home.storage.driver.read() as tx:
            for table in ("values", "writes"):
                for form, data in tx.execute(f"SELECT form, data FROM liteq_graph_{table}"):
                    named.update(hashes_of(form, bytes(data)))
            assert dict(tx.execute("SELECT hash, refs FROM liteq_graph_blobs")) == dict(named)

    def close(self) -> None:
        for thread in (*THREADS, "d"):
            self.savers[0].delete_thread(thread)
        assert set(rows(self.savers[0]).values()) == {0}
        for saver in self.savers:
            saver.close()


@pytest.mark.parametrize("seed", range(2))
def test_the_saver_has_what_the_reference_has(tmp_path: Path, seed: int) -> None:
    both = Both(tmp_path, seed)
    for step in range(STEPS):
        both.leave() if both.random.random() < 0.12 else both.put()
        if step % 20 == 19:
            both.compare()
            both.compare_counts()
    both.compare()
    both.close()
