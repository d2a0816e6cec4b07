"""`await task.adelay()`, `await result.aget()`: the event loop is not blocked, and a waiter costs no thread."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from liteq import LiteQ, chain, group
from liteq.exceptions import StorageBusy, TimeoutError
from liteq.result import hub
from liteq.testing import drain, eager

from .locked import locked


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    with LiteQ("async", broker=f"sqlite:///{tmp_path}/q.db") as made:

        @made.task(name="add")
        def add(x: int, y: int = 0) -> int:
            return x + y

        @made.task(name="fail")
        def fail() -> None:
            raise ValueError("broken")

        yield made


def our_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("liteq-"))


def listening() -> int:
    """How many hubs of the running loop have a waiter."""
    return len(hub._hubs.get(asyncio.get_running_loop(), {}))


def waiters() -> int:
    """How many wait for a result on the running loop."""
    hubs = hub._hubs.get(asyncio.get_running_loop(), {}).values()
    return sum(len(futures) for one in hubs for futures in one._waiting.values())


async def until(fact) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 - the fact is another's, who tells nobody
            await asyncio.sleep(0.002)


# -- sending ---------------------------------------------------------------------------------------------------------


def test_the_loop_goes_on_while_another_process_holds_the_file(app):
    add = app.tasks["add"]

    async def main() -> None:
        sent = await add.adelay(1)  # the file is open
        with locked(app) as holder:
            sending = [asyncio.create_task(add.adelay(n)) for n in range(50)]
            for _ in range(300):  # held up, it would end no turn before the file is free: that is after these
                await asyncio.sleep(0.001)
            assert not any(task.done() for task in sending)
            # Nobody who reads is held up, nor whoever else needs one of asyncio's own threads.
            assert (await sent.ameta())["status"] == "PENDING"
            await asyncio.wait_for(asyncio.to_thread(str), 60)
            holder.stdin.write("\n")
            holder.stdin.flush()
            await asyncio.gather(*sending)

    asyncio.run(main())
    assert drain(app) == 51


def test_what_is_sent_together_is_sent_in_order(app):
    async def main() -> list[str]:
        return [result.id for result in await asyncio.gather(*(app.tasks["add"].adelay(n) for n in range(20)))]

    ids = asyncio.run(main())
    leases = app.storage.claim(["celery"], worker=1, limit=20, visibility_s=60)
    assert [lease.id for lease in leases] == ids


def test_a_send_that_is_cancelled_in_its_queue_is_not_sent(app):
    add = app.tasks["add"]

    async def main() -> None:
        await add.adelay(0)
        with locked(app) as holder:
            first = asyncio.create_task(add.adelay(1))
            late = asyncio.create_task(add.aapply_async((2,), task_id="late"))
            await asyncio.sleep(0.05)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            holder.stdin.write("\n")
            holder.stdin.flush()
            await first
        assert not await asyncio.to_thread(add.AsyncResult("late").exists)

    asyncio.run(main())
    assert drain(app) == 2


def test_a_file_that_stays_locked_is_an_error_where_it_was_awaited(app):
    app.conf.busy_timeout = 0.2

    async def main() -> None:
        await app.tasks["add"].adelay(0)
        with locked(app), pytest.raises(StorageBusy):
            await app.tasks["add"].adelay(1)

    asyncio.run(main())


def test_wrong_arguments_are_the_same_error_as_without_await(app):
    with pytest.raises(TypeError):
        asyncio.run(app.tasks["add"].adelay(1, 2, 3))


def test_a_canvas_is_sent_and_waited_for(app):
    async def main() -> None:
        add = app.tasks["add"]
        last = await chain(add.s(1), add.s(2)).adelay()
        all_ = await group(add.s(n) for n in range(30)).aapply_async()
        await asyncio.to_thread(drain, app)
        assert await last.aget(timeout=60) == 3
        assert await all_.aget(timeout=60) == list(range(30))

    asyncio.run(main())


def test_a_receiver_may_send_and_wait_in_a_loop_of_its_own(app):
    """Code in the writing thread cannot wait for the writing thread."""
    add = app.tasks["add"]

    class Doubled(type(add)):
        def apply_async(self, args=None, kwargs=None, **options):
            asyncio.run(add.adelay(*args))
            return add.apply_async(args, kwargs, **options)

    doubled = app.register_task(Doubled(), name="doubled")
    asyncio.run(doubled.adelay(1))
    assert drain(app) == 2


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_five_hundred_waiters_have_two_threads_and_one_listener(app):
    add = app.tasks["add"]
    before = our_threads()

    async def main() -> list[int]:
        results = await asyncio.gather(*(add.adelay(n) for n in range(500)))
        waiting = [asyncio.create_task(result.aget(timeout=60)) for result in results]
        await until(lambda: waiters() == 500)
        assert listening() == 1
        await asyncio.to_thread(drain, app)
        assert len(our_threads()) <= len(before) + 2
        got = await asyncio.gather(*waiting)
        assert listening() == 0
        return got

    assert asyncio.run(main()) == list(range(500))


def test_a_waiter_is_woken_and_does_not_look_by_the_clock(app, monkeypatch):
    monkeypatch.setattr(hub, "RECHECK_S", 600.0)

    async def main() -> int:
        result = await app.tasks["add"].adelay(40, 2)
        waiting = asyncio.create_task(result.aget(timeout=60))
        await until(lambda: waiters() == 1)
        await asyncio.to_thread(drain, app)
        return await waiting

    assert asyncio.run(main()) == 42


def test_a_lost_ring_costs_a_second_and_no_more(app, monkeypatch):
    monkeypatch.setattr(app.storage.driver, "ring", lambda _bell: None)
    monkeypatch.setattr(hub, "RECHECK_S", 0.05)

    async def main() -> int:
        result = await app.tasks["add"].adelay(1)
        waiting = asyncio.create_task(result.aget(timeout=60))
        await until(lambda: waiters() == 1)
        await asyncio.to_thread(drain, app)
        return await waiting

    assert asyncio.run(main()) == 1


def test_a_loop_that_watches_no_descriptors_shares_one_listening_thread(app, monkeypatch):
    def refuse(*_args):
        raise NotImplementedError

    async def main() -> list[int]:
        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        results = [await app.tasks["add"].adelay(n) for n in range(20)]
        waiting = asyncio.gather(*(result.aget(timeout=60) for result in results))
        await asyncio.to_thread(drain, app)
        return await waiting

    assert asyncio.run(main()) == list(range(20))


def test_a_waiter_that_is_cancelled_stops_listening_and_leaves_the_task_alone(app):
    async def main() -> None:
        result = await app.tasks["add"].adelay(1)
        waiting = [asyncio.create_task(result.aget()) for _ in range(3)]
        await until(lambda: waiters() == 3)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        assert listening() == 1
        await asyncio.to_thread(drain, app)
        assert await asyncio.gather(*waiting[1:]) == [1, 1]
        assert listening() == 0

    asyncio.run(main())


def test_a_timeout_names_what_it_waited_for(app):
    async def main() -> None:
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match="nobody did not finish in time"):
                await app.AsyncResult("nobody").aget(timeout=timeout)
        members = await group(app.tasks["add"].s(n) for n in range(3)).adelay()
        with pytest.raises(TimeoutError):
            await members.aget(timeout=0.05)
        assert listening() == 0

    asyncio.run(main())


def test_the_exception_of_a_task_is_raised_where_it_is_awaited(app):
    async def main() -> None:
        result = await app.tasks["fail"].adelay()
        both = await group(app.tasks["fail"].s(), app.tasks["add"].s(1)).adelay()
        await asyncio.to_thread(drain, app)
        with pytest.raises(ValueError, match="broken"):
            await result.aget(timeout=60)
        assert isinstance(await app.AsyncResult(result.id).aget(timeout=60, propagate=False), ValueError)
        with pytest.raises(ValueError, match="broken"):
            await both.aget(timeout=60)

    asyncio.run(main())


def test_inside_a_task_waiting_is_refused_as_in_celery(app):
    @app.task(name="waits")
    async def waits(id_: str) -> None:
        await app.AsyncResult(id_).aget(timeout=1)

    result = waits.delay("x")
    drain(app)
    with pytest.raises(RuntimeError, match="within a task"):
        result.get(timeout=0)


def test_what_an_async_task_sends_is_its_child(app):
    @app.task(name="parent", bind=True)
    async def parent(self) -> list[str]:
        sent = await app.tasks["add"].adelay(1)
        return [sent.id, self.request.children[0].id]

    result = parent.delay()
    drain(app)
    child, noted = result.get(timeout=0)
    assert child == noted
    assert app.storage.reader.find(child).parent_id == result.id


def test_an_eager_app_runs_it_beside_the_loop(app):
    @app.task(name="outer")
    async def outer() -> int:
        return await (await app.tasks["add"].adelay(20, 1)).aget() * 2

    async def main() -> int:
        with eager(app):
            return await (await outer.adelay()).aget()

    assert asyncio.run(main()) == 42


def test_an_ignored_result_is_none_at_once(app):
    async def main() -> object:
        return await (await app.tasks["add"].aapply_async((1,), ignore_result=True)).aget()

    assert asyncio.run(main()) is None


def test_a_file_that_goes_bad_is_an_error_for_who_waits(app, monkeypatch):
    async def main() -> None:
        result = await app.tasks["add"].adelay(1)
        waiting = asyncio.create_task(result.aget(timeout=60))
        await until(lambda: waiters() == 1)

        def broken(_ids):
            raise StorageBusy(1.0, "somebody")

        monkeypatch.setattr(app.storage.reader, "find_finished", broken)
        app.storage.driver.ring(hub_bell())
        with pytest.raises(StorageBusy):
            await waiting
        assert listening() == 0

    asyncio.run(main())


def hub_bell():
    from liteq.storage.driver import Bell

    return Bell.DONE


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_waits_with_a_listener_of_its_own(tmp_path):
    """A server that forks after something was waited for: the parent's idle listener is not the children's."""
    code = f"""
import asyncio, os
from liteq import LiteQ
from liteq.result import hub
from liteq.testing import drain
hub.RECHECK_S = 600.0
app = LiteQ("forks", broker="sqlite:///{tmp_path}/f.db")
@app.task(name="one")
def one():
    return 1
async def main():
    result = await one.adelay()
    waiting = asyncio.create_task(result.aget(timeout=60))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(drain, app)
    assert await waiting == 1
asyncio.run(main())
assert app.storage._idle._idle
if os.fork() == 0:
    asyncio.run(main())
    os._exit(0)
assert os.wait()[1] == 0
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
