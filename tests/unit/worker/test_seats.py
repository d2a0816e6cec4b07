"""A file of several that cannot be used: it is not left open while it is set aside."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from selectors import DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest

from liteq import LiteQ
from liteq.app.files.patterns import Patterns
from liteq.context import identity
from liteq.exceptions import SchemaTooNew, StorageBusy
from liteq.storage.storage import Storage, open_storage
from liteq.worker.files.loop import FilesLoop
from liteq.worker.files.seat import Aside, Seat
from liteq.worker.files.sharing import Sharing
from liteq.worker.hooks import Hooks
from liteq.worker.pool import make_pool
from tests.codecs import Backwards


def newer(storage: Storage) -> None:
    with storage.driver.write() as tx:
        tx.execute("UPDATE liteq_meta SET value = 9999 WHERE key IN ('version', 'min_reader', 'min_writer')")


@pytest.mark.parametrize(("of", "error"), [("newer", SchemaTooNew), ("sealed", Aside)])
def test_a_file_that_is_set_aside_at_once_is_open_no_more(tmp_path: Path, of: str, error: type[Exception]) -> None:
    url = f"sqlite:///{tmp_path}/tenant.db"
    codec = {"payload_codec": Backwards()} if of == "sealed" else {}
    with LiteQ("shop", broker=url, set_as_current=False, **codec) as app:
        app.send_task("shop.mail")
        if of == "newer":
            newer(app.storage)
    opened: list[Storage] = []

    def open_one(**_options: Any) -> Storage:
        opened.append(open_storage(url))
        return opened[-1]

    seat = object.__new__(Seat)
    conf = SimpleNamespace(busy_timeout=1.0)
    seat.app = SimpleNamespace(open_storage=open_one, conf=conf)  # type: ignore[assignment]
    with pytest.raises(error):
        seat._open()
    assert opened[0].driver.users() == []


def test_a_file_that_goes_before_it_was_opened_is_not_made_anew(tmp_path: Path) -> None:
    stays, goes = tmp_path / "stays.db", tmp_path / "goes.db"
    pool = SimpleNamespace(name="fake", size=1, exits={})
    with LiteQ("shop", broker=f"sqlite:///{tmp_path}/own", set_as_current=False) as app:
        host: Any = SimpleNamespace(
            app=app, hostname="here", hooks=None, limits=(None, None), max_tasks=None, start_method="fork"
        )
        patterns = Patterns([f"{tmp_path}/*.db"])
        loop = FilesLoop(host, patterns, pool, on_wake=lambda: None, chores=[])  # type: ignore[arg-type]
        for path in (stays, goes):
            path.write_bytes(b"something")
        loop._scan(0.0)
        goes.unlink()
        loop._scan(10.0)
        loop.close()
    assert [seat.path for seat in loop._new] == [str(stays)]


def test_a_file_that_is_locked_while_it_is_opened_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set aside at once, and nobody finds a worker in it that takes nothing."""
    refused: list[int] = []

    def refuse(_storage: Storage, worker: int, *_: Any, **__: Any) -> Any:
        refused.append(worker)
        raise StorageBusy(0.25)

    with LiteQ("shop", broker=f"sqlite:///{tmp_path}/own", set_as_current=False) as app:
        app.conf.update(busy_timeout=1.0)
        host: Any = SimpleNamespace(
            app=app, hostname="here", hooks=Hooks(), limits=(None, None), max_tasks=None, start_method="fork",
            enter_as=lambda storage: storage.workers.enter_named(identity.me("here"), lambda me, _others: me),
            told=lambda *_: {}, order_options=lambda: {"queues": ["celery"]}, sends_events=False,
        )  # fmt: skip
        sharing = Sharing(make_pool("solo", app, 1, hostname="here"))
        selector = DefaultSelector()
        seat = Seat(host, f"{tmp_path}/tenant.db", sharing, selector=selector, told=dict)
        with monkeypatch.context() as locked:
            locked.setattr(Storage, "heartbeat", refuse)
            with pytest.raises(Aside):
                seat.open()
        assert len(refused) == 1
        assert not seat.is_open
        with closing(open_storage(f"sqlite:///{tmp_path}/tenant.db")) as storage:
            assert storage.reader.workers() == []
            seat.open()
            assert [one.name for one in storage.reader.workers()] == ["here"]
            seat.leave()
            selector.close()
            assert storage.reader.workers() == []
