"""Transactional steps in Django's database: the models' rows and the checkpoint are one commit."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, connection
from shop.orders.models import Order

from liteq.exceptions import WorkflowError
from liteq.workflow import ctx
from liteq_django import drain


class Killed(BaseException):
    pass


@pytest.fixture
def flow(shop):
    ran = []

    @shop.step(name="create_order", tx="default")
    def create_order(kill: bool) -> int:
        ran.append(1)
        order = Order.objects.create()
        if kill and len(ran) == 1:
            raise RuntimeError("rolled back")
        return order.pk

    @shop.workflow(name="ordering")
    def ordering(kill: bool) -> int:
        try:
            return create_order(kill)
        except RuntimeError:
            return create_order(kill)

    ordering.ran = ran
    return ordering


@pytest.mark.parametrize("kill", [False, True])
def test_a_failing_step_leaves_no_row_and_a_good_one_leaves_one(shop, flow, kill):
    run = flow.start(kill)
    drain()
    assert run.result(0) == Order.objects.get().pk
    assert len(flow.ran) == 1 + kill


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_opens_its_own_connection_as_a_task_does(shop, is_async):
    """Without CONN_MAX_AGE; one that has been cut, too, would else be met by all runs of a process."""

    def was_open() -> bool:
        found = connection.connection is not None
        Order.objects.count()
        return found

    async def was_open_there() -> bool:
        return await sync_to_async(was_open)()

    async def body() -> list[bool]:
        return [await step(), await step()]

    step = shop.step(name=f"was_open_{is_async}")(was_open_there if is_async else was_open)
    flow = shop.workflow(name=f"looking_{is_async}")(body if is_async else lambda: [step(), step()])
    runs = []
    for _ in range(2):
        runs.append(flow.start())
        drain()
    assert [run.result(0) for run in runs] == [[False, True]] * 2


def test_a_kill_after_the_commit_repeats_nothing(shop, flow, monkeypatch):
    from liteq.message import Release
    from liteq.workflow.activating.activation import activate

    run = flow.start(False)
    worker = shop.storage.register_worker(_identity())
    (lease,) = shop.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    runs = shop.storage.runs
    real = runs.checkpoint

    def killed(*args, **kwargs):
        real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(runs, "checkpoint", killed, raising=False)
    with pytest.raises(Killed):
        activate(shop, lease)
    monkeypatch.undo()
    assert Order.objects.count() == 0, "the checkpoint is a part of the transaction that was never committed"
    shop.storage.settle([(lease, Release(crashed=True))])
    drain()
    assert run.result(0) == Order.objects.get().pk
    assert len(flow.ran) == 2


def test_strict_replay_leaves_the_body_behind_the_commit(shop, flow):
    shop.conf.workflow_strict_replay = True
    try:
        run = flow.start(False)
        drain()
        assert run.result(0) == Order.objects.get().pk
    finally:
        shop.conf.workflow_strict_replay = False
    assert len(flow.ran) == 1


def test_what_a_refused_commit_had_taken_rides_in_the_next_write(shop, monkeypatch):
    seen, ran = [], []

    def refuse() -> None:
        raise IntegrityError("a constraint that is checked at the commit")

    @shop.step(name="refused", tx="default", retries=1, backoff=0)
    def refused() -> None:
        ran.append(1)
        monkeypatch.undo()
        if len(ran) == 1:
            monkeypatch.setattr(connection, "commit", refuse)

    @shop.workflow(name="marking")
    def marking() -> None:
        seen.append(ctx.patched("new"))
        refused()
        ctx.wait_event("go")

    run = marking.start()
    drain()
    run.send("go")
    drain()
    assert run.result(0) is None
    assert len(ran) == 2
    assert seen == [True, True]


def test_ctx_tx_is_the_connection(shop):
    @shop.step(name="raw", tx="default")
    def raw() -> int:
        with ctx.tx.cursor() as cursor:
            cursor.execute("SELECT 41 + %s", [1])
            return cursor.fetchone()[0]

    @shop.step(name="plain")
    def plain() -> None:
        with pytest.raises(WorkflowError, match="tx="):
            _ = ctx.tx

    @shop.workflow(name="asking")
    def asking() -> int:
        plain()
        return raw()

    run = asking.start()
    drain()
    assert run.result(0) == 42
    assert connection.in_atomic_block is False


def _identity():
    from liteq.message import WorkerIdentity, new_id

    return WorkerIdentity(new_id(), "w", "host", "", 1, "")
