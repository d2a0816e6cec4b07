"""The memory of flows: values by scope and key, each with a version that grows by one."""

from __future__ import annotations

from liteq.storage.kept import flow_state
from liteq.storage.storage import Storage


def test_a_value_is_set_found_and_deleted(storage: Storage) -> None:
    with storage.driver.write() as tx:
        assert flow_state.find(tx, "dag:a", "cursor") is None
        flow_state.put(tx, "dag:a", "cursor", b'{"at": 1}', now_ms=5)
        flow_state.put(tx, "dag:a", "cursor", b'{"at": 2}', now_ms=7)
    with storage.driver.write() as tx:
        assert flow_state.find(tx, "dag:a", "cursor") == flow_state.Kept("cursor", b'{"at": 2}', 2, 7)
        assert flow_state.find(tx, "dag:b", "cursor") is None
        flow_state.delete(tx, "dag:a", "cursor")
        flow_state.delete(tx, "dag:a", "cursor")
        assert flow_state.find(tx, "dag:a", "cursor") is None


def test_values_are_listed_by_the_beginning_of_their_key(storage: Storage) -> None:
    with storage.driver.write() as tx:
        for key in ("jobs/b", "jobs/a", "job", "jobs_/c", "JOBS/d"):
            flow_state.put(tx, "global", key, b"1", now_ms=1)
        flow_state.put(tx, "dag:x", "jobs/z", b"1", now_ms=1)
        assert [one.key for one in flow_state.listed(tx, "global", "jobs/", 0)] == ["jobs/a", "jobs/b"]
        assert [one.key for one in flow_state.listed(tx, "global", "jobs/", 1)] == ["jobs/a"]
        assert len(flow_state.listed(tx, "global", "", 0)) == 5
