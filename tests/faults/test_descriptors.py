"""More children than the limit of file descriptors has room for: raised where it can be, else fewer children."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.states import State

from .harness import Drill, wait_for

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="workers need fork"),
]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    yield drill
    drill.close()


@pytest.fixture(params=[(64, 64), (64, 1024)], ids=["short", "raised"])
def limit(request: pytest.FixtureRequest) -> tuple[int, int]:
    """The limits that processes started now inherit: the soft and the hard limit."""
    return request.param  # type: ignore[no-any-return]


def test_a_worker_with_more_children_than_descriptors_works_with_fewer(drill: Drill, limit: tuple[int, int]) -> None:
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, {limit}); "
        "sys.argv[0] = 'liteq'; from liteq.cli import main; sys.exit(main())"
    )
    worker = drill.start("-c", code, "-A", "drill_app", "worker", "-c", "40", name="worker")
    wait_for(drill.db.exists)
    storage = drill.storage()
    task = drill.send(storage, "work", 1)
    drill.wait_until_settled()
    assert storage.reader.find(task).state is State.SUCCEEDED  # type: ignore[union-attr]
    log = drill.log()
    if limit[1] == 64:
        assert "of 40 worker processes run" in log
        assert "raise the limit (ulimit -n, LimitNOFILE=), or lower --concurrency" in log
    else:
        assert "worker processes run" not in log
    assert drill.stop(worker) == 0
    storage.close()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
