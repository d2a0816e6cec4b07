"""A disk that is full fails no step that has its transaction in the queue's file."""

from __future__ import annotations

import pytest

from liteq import LiteQ
from liteq.exceptions import StorageFull
from liteq.message import Release
from liteq.workflow import ctx
from tests.integration.runs import Worker

from .engines import on_both_engines


@on_both_engines
def test_a_step_whose_transaction_met_a_full_disk_runs_again(app: LiteQ) -> None:
    """Its run failed, although the disk had room again a moment later."""
    ran: list[int] = []

    @app.step(tx=True)
    def reserve() -> int:
        ran.append(len(ran))
        if len(ran) == 1:
            raise StorageFull("the disk is full")  # as ctx.tx.execute() does
        return int(ctx.tx.execute("SELECT 7")[0][0])

    @app.workflow
    def order() -> int:
        return reserve()

    run = order.start()
    worker = Worker(app)
    lease = worker.claim()
    assert lease is not None
    with pytest.raises(StorageFull):  # the pool hands the run back
        worker.execute(lease)
    app.storage.settle([(lease, Release())])
    worker.run()
    assert (run.status, run.result()) == ("succeeded", 7)
    assert ran == [0, 1]
