"""Of several consumers on a file one looks after the others: it ends what the dead have left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .shop import NEEDS_CELERY

pytestmark = NEEDS_CELERY


def test_the_first_consumer_looks_after_the_others_and_the_next_one_when_it_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    from liteq.worker.chores.heartbeat import Heartbeat
    from liteq_kombu import holder
    from liteq_kombu.files import File
    from liteq_kombu.options import options_of

    for pause in ("OTHERS_S", "LOOK_S"):
        monkeypatch.setattr(holder, pause, 0.01)
    looks, looks_at_all = Counter[int](), Counter[int]()
    look, look_at_all = Heartbeat.look_after_others, Heartbeat._look_at_all

    def counted(self: Heartbeat) -> bool:
        done = look(self)
        looks[self.worker] += is_here(self)
        return done

    def counted_at_all(self: Heartbeat, others: Any) -> bool:
        looks_at_all[self.worker] += is_here(self)
        return look_at_all(self, others)

    def is_here(beat: Heartbeat) -> bool:
        """Not of a consumer that another test has left in this process, whose number on its own file is the same."""
        return any(beat._storage is file.storage for file in files)

    path = tmp_path / "q.db"
    files = [File(f"liteq:///{path}", str(path), options_of({"visibility_timeout": 600})) for _ in range(3)]
    monkeypatch.setattr(Heartbeat, "look_after_others", counted)
    monkeypatch.setattr(Heartbeat, "_look_at_all", counted_at_all)
    try:
        workers = []
        for file in files:  # as three processes
            file.ready()
            workers.append(file.holder.number(["celery"]))
        first, second, third = workers
        eventually(lambda: all(looks[one] >= 5 for one in workers), within_s=60)
        assert looks_at_all[first] >= 5
        assert (looks_at_all[second], looks_at_all[third]) == (1, 1), "each looks once as it comes"
        files[0].holder.leave()
        before = looks[third]
        eventually(lambda: looks_at_all[second] > 5 and looks[third] > before + 5, within_s=60)
        assert looks_at_all[third] == 1
    finally:
        for file in files:
            file.holder.leave()
            file.storage.close()
