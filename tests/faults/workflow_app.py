"""The app of the drills with runs. Each step writes a line into the ledger, and dies where its run was told to."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

from liteq import LiteQ
from liteq.clock import SystemClock
from liteq.signals import workflow_stuck
from liteq.workflow import Done, NotDone, actx, ctx

FOLDER = Path(os.environ["DRILL_FOLDER"])
LEDGER = FOLDER / "ledger"
OFFSET = FOLDER / "clock"  # by how many seconds the wall clock has been set
OLD, NEW = "old", "new"
CODE = os.environ.get("DRILL_CODE", OLD)  # which code this process has: a rolling deploy has both
Where = dict[str, Any] | None  # {"at": a place, "whom": "child" or "parent", "times": how often, "pause": of a step, s}


class SetClock(SystemClock):
    """The machine's clock, set as the drill says."""

    def now_ms(self) -> int:
        return super().now_ms() + (int(OFFSET.read_text() or 0) * 1000 if OFFSET.exists() else 0)


app = LiteQ("flows", broker=os.environ["DRILL_BROKER"], clock=SetClock())


def note(kind: str, run_id: str) -> None:
    """One line, in one write, to a file opened for append: whole or not there, whichever process is killed."""
    fd = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{kind} {run_id} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


def perhaps_die(run_id: str, place: str, where: Where) -> None:
    """Kill this process, or its parent, where the run was told to, the first so many times."""
    if where is None or where["at"] != place:
        return
    for n in range(where.get("times", 1)):
        try:
            os.close(os.open(FOLDER / f"died {run_id} {place} {n}".replace("/", "-"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        os.kill(os.getppid() if where.get("whom") == "parent" else os.getpid(), signal.SIGKILL)
        time.sleep(60)  # until the kernel ends the children of a dead parent


def wait_for_file(name: str) -> None:
    while not (FOLDER / name).exists():
        time.sleep(0.005)


@workflow_stuck.connect
def stuck(run_id: str = "", error: str = "", **_: Any) -> None:
    note("stuck", run_id)


# -- steps in a row --------------------------------------------------------------------------------------------------


@app.step
def one(n: int, where: Where = None) -> int:
    note(f"one-{n}", ctx.run_id)
    time.sleep((where or {}).get("pause", 0))
    perhaps_die(ctx.run_id, f"in {n}", where)
    return n * 10


@app.step
async def aone(n: int, where: Where = None) -> int:
    note(f"one-{n}", actx.run_id)
    await asyncio.sleep((where or {}).get("pause", 0))
    perhaps_die(actx.run_id, f"in {n}", where)
    return n * 10


@app.workflow
def six(where: Where = None) -> int:
    _now[:] = ctx.run_id, where
    total = 0
    for n in range(1, 7):
        total += one(n, where)
        perhaps_die(ctx.run_id, f"after {n}", where)
    return total


@app.workflow
async def asix(where: Where = None) -> int:
    _now[:] = actx.run_id, where
    total = 0
    for n in range(1, 7):
        total += await aone(n, where)
        perhaps_die(actx.run_id, f"after {n}", where)
    return total


@app.workflow
def each_once(deaths: int) -> int:
    """Dies in each of its steps, once: no step is to blame for all of that."""
    return sum(one(n, {"at": f"in {n}"}) for n in range(1, deaths + 1))


# -- an agent, and an effect elsewhere -------------------------------------------------------------------------------


@app.workflow
async def agent(where: Where = None) -> list[str]:
    """Asks a model, runs the three tools that it names side by side, and asks again."""

    async def work(kind: str) -> str:
        note(kind, actx.run_id)
        await asyncio.sleep((where or {}).get("pause", 0.01))
        perhaps_die(actx.run_id, f"in {kind}", where)
        return kind

    async def request(n: int) -> str:
        return await actx.step("model.request", work, key=f"request {n}", args=(f"model-{n}",))

    async def tool(name: str) -> str:
        return await actx.step(f"tool.{name}", work, key=f"call {name}", args=(f"tool-{name}",))

    first = await request(1)
    tools = await asyncio.gather(*(tool(name) for name in "abc"))
    return [first, *tools, await request(2)]


def is_charged(key: str, where: Where) -> Done | NotDone:
    """Look at the destination of `charge`, which is the ledger."""
    note("looked", ctx.run_id)
    lines = LEDGER.read_text().splitlines()
    return Done("found") if any(line.startswith(f"charged-{key} ") for line in lines) else NotDone()


def _charge(where: Where) -> str:
    perhaps_die(ctx.run_id, "before charge", where)
    note(f"charged-{ctx.step_key}", ctx.run_id)
    perhaps_die(ctx.run_id, "after charge", where)
    return "charged"


charge_by_looking = app.step("charge_by_looking", doubt=is_charged)(_charge)
charge_by_asking = app.step("charge_by_asking", doubt="ask")(_charge)


@app.workflow
def pays_by_looking(where: Where = None) -> list[Any]:
    return [one(1), charge_by_looking(where), one(2)]


@app.workflow
def pays_by_asking(where: Where = None) -> list[Any]:
    return [one(1), charge_by_asking(where), one(2)]


# -- waits -----------------------------------------------------------------------------------------------------------


@app.workflow
def sleepy(seconds: float) -> int:
    before = one(1)
    ctx.sleep(seconds)
    return before + one(2)


@app.workflow
def listens(n: int, where: Where = None) -> list[int]:
    got = []
    for turn in range(n):
        got.append(ctx.wait_event("go"))
        perhaps_die(ctx.run_id, f"turn {turn}", where)
    return got


@app.workflow
async def alistens(n: int, where: Where = None) -> list[int]:
    got = []
    for turn in range(n):
        got.append(await actx.wait_event("go"))
        perhaps_die(actx.run_id, f"turn {turn}", where)
    return got


@app.workflow
def impatient(n: int, where: Where = None) -> list[int]:
    """Asks again and again for what may come late: it invents none and loses none."""
    got: list[int] = []
    for turn in range(10_000):
        value = ctx.wait_event("go", timeout=0.05, default=-1)
        note(f"turn-{turn}={value}", ctx.run_id)
        perhaps_die(ctx.run_id, f"turn {turn}", where)
        got += [value] if value >= 0 else []
        if len(got) == n:
            break
    return got


@app.task
def double(n: int) -> int:
    time.sleep(n % 5 / 1000)
    return 2 * n


@app.workflow
def gathers(n: int) -> list[int]:
    return ctx.gather([ctx.spawn(double, i) for i in range(n)])


@app.workflow
async def agathers(n: int) -> list[int]:
    return list(await asyncio.gather(*(actx.call(double, i) for i in range(n))))


# -- sagas, cancels --------------------------------------------------------------------------------------------------


@app.step
def undo(n: int, where: Where = None) -> None:
    note(f"undo-{n}", ctx.run_id)
    perhaps_die(ctx.run_id, f"undo {n}", where)
    if where is not None and where["at"] == f"fail to undo {n}":
        raise ValueError(f"{n} cannot be undone")


@app.step
async def aundo(n: int, where: Where = None) -> None:
    note(f"undo-{n}", actx.run_id)
    perhaps_die(actx.run_id, f"undo {n}", where)
    if where is not None and where["at"] == f"fail to undo {n}":
        raise ValueError(f"{n} cannot be undone")


@app.workflow
def saga(where: Where = None) -> None:
    with ctx.saga() as started:
        for n in (1, 2, 3):
            one(n)
            started.add(undo, n, where)
        raise LookupError("the order is refused")


@app.workflow
async def asaga(where: Where = None) -> None:
    async with actx.saga() as started:
        for n in (1, 2, 3):
            await aone(n)
            started.add(aundo, n, where)
        raise LookupError("the order is refused")


@app.step
def held(name: str) -> None:
    note("held", ctx.run_id)
    wait_for_file(name)


@app.step
def by_turns(emits: bool) -> None:
    """Its k-th execution goes on when there is a file "go-k"."""
    with_it = LEDGER.read_text().count(f"turn {ctx.run_id} ") if LEDGER.exists() else 0
    note("turn", ctx.run_id)
    wait_for_file(f"go-{with_it}")
    if emits:
        ctx.emit("log", os.getpid())


@app.workflow
def stopped(emits: bool) -> int:
    run_id = ctx.run_id
    try:
        by_turns(emits)
    finally:
        note("left", run_id)
    return one(3)


@app.workflow
def cancelled(where: Where = None) -> str:
    """Is cancelled in its step: it swallows what it can, and starts another step, which must not begin."""
    with ctx.saga() as started:
        one(1)
        started.add(undo, 1, where)
        held(f"go-{ctx.run_id}")
        one(2)
    return "not cancelled"


@app.workflow
def stubborn() -> str:
    held(f"go-{ctx.run_id}")
    for n in range(2, 5):
        try_it(n)
    return "not cancelled"


def try_it(n: int) -> None:
    try:
        one(n)
    except BaseException:
        note("swallowed", ctx.run_id)


@app.workflow
def parent_of(n: int) -> list[str]:
    handles = [ctx.spawn(patient, f"{ctx.run_id}-child-{i}") for i in range(n)]
    held(f"go-{ctx.run_id}")
    handles.append(ctx.spawn(patient, "the late one"))
    return ctx.gather(handles)


@app.workflow
def patient(name: str) -> str:
    note("patient", name)
    ctx.wait_event("never")
    return name


# -- steps that fail, hang, kill -------------------------------------------------------------------------------------


@app.step(retries=3, backoff=0.3)
def failing(where: Where = None) -> None:
    note("failing", ctx.run_id)
    perhaps_die(ctx.run_id, f"attempt {ctx.attempt}", where)
    raise ConnectionError(f"attempt {ctx.attempt}")


@app.workflow
def retries(where: Where = None) -> None:
    failing(where)


@app.step
def poison() -> None:
    note("poison", ctx.run_id)
    os.kill(os.getpid(), signal.SIGKILL)


@app.workflow
def poisoned() -> None:
    one(1)
    poison()


@app.step(timeout=0.2, retries=1, backoff=0)
def hangs(how: str) -> str:
    note("hangs", ctx.run_id)
    if ctx.attempt == 1:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                time.sleep(60)
            except Exception:
                note("interrupted", ctx.run_id)
                if how == "yields":
                    raise
    return f"attempt {ctx.attempt}"


@app.workflow
def hung(how: str) -> str:
    return hangs(how)


@app.step
def long(seconds: float) -> None:
    note("long", ctx.run_id)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


@app.workflow
def works_long(n: int, seconds: float) -> int:
    for i in range(n):
        long(seconds)
        note(f"over-{i}", ctx.run_id)
    return n


@app.workflow
async def aworks_long(n: int, seconds: float) -> int:
    for i in range(n):
        await along(seconds)
        note(f"over-{i}", actx.run_id)
    return n


@app.step
async def along(seconds: float) -> None:
    note("long", actx.run_id)
    await asyncio.sleep(seconds)


# -- what is paid for once, what is written once ---------------------------------------------------------------------


@app.step(memo=True)
def expensive(question: str, where: Where = None) -> str:
    note("paid", question.replace(" ", "-"))
    perhaps_die(question, "paying", where)
    time.sleep(0.1)
    return question.upper()


@app.workflow
def asks(question: str, where: Where = None) -> str:
    return expensive(question, where)


def books() -> sqlite3.Connection:
    connection = sqlite3.connect(FOLDER / "books.db", timeout=10)
    connection.execute("CREATE TABLE IF NOT EXISTS entries (run TEXT, n INTEGER)")
    return connection


@app.step(tx=True)
def enter(n: int, where: Where = None) -> int:
    note(f"enter-{n}", ctx.run_id)
    ctx.tx.execute("INSERT INTO entries (run, n) VALUES (?, ?)", [ctx.run_id, n])
    perhaps_die(ctx.run_id, f"in {n}", where)
    return n


@app.step(tx=books)
def enter_elsewhere(n: int, where: Where = None) -> int:
    note(f"enter-{n}", ctx.run_id)
    ctx.tx.execute("INSERT INTO entries (run, n) VALUES (?, ?)", [ctx.run_id, n])
    perhaps_die(ctx.run_id, f"in {n}", where)
    return n


@app.workflow
def bookkeeping(elsewhere: bool, where: Where = None) -> int:
    _now[:] = ctx.run_id, where
    write = enter_elsewhere if elsewhere else enter
    total = 0
    for n in (1, 2, 3):
        total += write(n, where)
        perhaps_die(ctx.run_id, f"after {n}", where)
    return total


@app.step
def large(n: int) -> str:
    return "x" * n


@app.workflow
def large_ones(n: int) -> int:
    return len(large(n)) + len(large(n))


@app.workflow
def busy(n: int) -> int:
    total = 0
    for i in range(n):
        total += enter(i)
        ctx.set("at", i)
        total += one(i) // 10
    return total


# -- a rolling deploy ------------------------------------------------------------------------------------------------


@app.workflow
def deployed(n: int) -> str:
    """The new code has a step of another name in the middle, behind `patched`, and one more at the end."""
    first = one(1)
    ctx.wait_event("go")
    middle = one(20) if CODE == NEW and ctx.patched("dearer") else one(2)
    ctx.wait_event("end")
    last = one(3)
    if CODE == NEW:
        last += one(4)
    return f"{first} {middle} {last}"


if CODE == NEW:

    @app.workflow
    def changed(seconds: float) -> int:
        """The new code has another step where the old one has recorded its own, without a word about it."""
        total = one(5)
        ctx.sleep(seconds)
        return total + one(2)

else:

    @app.workflow
    def changed(seconds: float) -> int:
        total = one(1)
        ctx.sleep(seconds)
        return total + one(2)


# -- the moments of a commit -----------------------------------------------------------------------------------------

_now: list[Any] = ["", None]  # the run that this process executes, and where it is to die


def die_at_commits() -> None:
    """Have a run die before or after the commit of its n-th step: `where["at"]` is "before commit 3", say."""
    from liteq.storage.facades.runs import Runs
    from liteq.storage.facades.runs.step_transaction import StepTransaction

    commit, leave = Runs.checkpoint, StepTransaction.__exit__

    def checkpoint(self: Any, hold: Any, step: Any, **how: Any) -> Any:
        perhaps_die(_now[0], f"before commit {step.pos}", _now[1])
        told = commit(self, hold, step, **how)
        perhaps_die(_now[0], f"after commit {step.pos}", _now[1])
        return told

    def left(self: Any, *exc: Any) -> None:
        n = ctx.step_key.rpartition(":")[2].rpartition(".")[2]  # its place in the run
        perhaps_die(_now[0], f"before commit {n}", _now[1])
        leave(self, *exc)
        perhaps_die(_now[0], f"after commit {n}", _now[1])

    Runs.checkpoint = checkpoint  # type: ignore[method-assign]
    StepTransaction.__exit__ = left  # type: ignore[method-assign]


def let_go_slowly() -> None:
    """Have some time pass between the end of a body that waits and its suspension in the file: all may come there."""
    from liteq.message import Suspend
    from liteq.worker.pool.runs import Runs

    activate = Runs._activate

    def slowly(self: Any, lease: Any, page: Any) -> Any:
        outcome = activate(self, lease, page)
        if type(outcome) is Suspend:
            time.sleep(random.random() / 30)
        return outcome

    Runs._activate = slowly  # type: ignore[method-assign]


if os.environ.get("DRILL_COMMITS"):
    die_at_commits()
    let_go_slowly()
