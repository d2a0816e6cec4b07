"""An app with tasks and workflows that call each other, for real workers. `FLOW_FOLDER` has its queue and ledger."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from liteq import LiteQ, chain, chord, group
from liteq.workflow import actx, ctx

FOLDER = Path(os.environ["FLOW_FOLDER"])
app = LiteQ("flow_tasks", broker=f"sqlite:///{FOLDER}/queue.db")


def note(line: str) -> None:
    with (FOLDER / "ledger").open("a") as ledger:
        ledger.write(f"{line}\n")


class Refused(Exception):
    def __init__(self, order: str, code: int) -> None:
        super().__init__(order, code)
        self.order, self.code = order, code


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
def total(values: list[int]) -> int:
    note("total")
    return sum(values)


@app.task
def refuse(order: str) -> None:
    raise Refused(order, 7)


@app.task
def tell(id_: str) -> None:
    note(f"told {id_}")


@app.step
def mark(value: int) -> int:
    note(f"mark {value}")
    return value


@app.workflow
def slowly(value: int, more: int = 1) -> int:
    """A run that suspends between two steps."""
    first = mark(value)
    ctx.sleep("50ms")
    return mark(first + more)


@app.workflow
async def aslowly(value: int) -> int:
    await actx.sleep("50ms")
    return value + 1


@app.workflow
def summed(values: list[int]) -> int:
    ctx.sleep("50ms")
    return sum(values) + mark(1000)


@app.workflow
def refusing(order: str = "o") -> None:
    mark(1)
    raise Refused(order, 8)


@app.workflow
def dying(value: int) -> int:
    """A run whose process is killed, once."""
    mark(value)
    try:
        (FOLDER / "died").touch(exist_ok=False)
    except FileExistsError:
        return mark(value + 1)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@app.workflow
def waits_for(event: str) -> int:
    return int(ctx.wait_event(event))


@app.workflow
def calls_canvases(n: int) -> dict[str, object]:
    """Every kind of canvas, called, with a run inside; the failure of one; and one that is sent and not waited for."""
    found: dict[str, object] = {
        "chain": ctx.call(chain(add.s(n, 1), slowly.s(), add.s(100))),
        "group": ctx.call(group(add.s(i, n) for i in range(3))),
        "chord": ctx.call(chord([slowly.s(1), add.s(1, 1), aslowly.s(5)], total.s())),
        "body": ctx.call(chord([add.s(1, 1), add.s(2, 2)], summed.s())),
        "spawned": ctx.gather([ctx.spawn(chain(add.s(1, 1), add.s(1))), ctx.spawn(slowly, 7)]),
    }
    for name, canvas in {
        "link": chain(add.s(1, 1), refuse.si("a"), add.s(1)),
        "member": chord([add.s(1, 1), refusing.si("b")], total.s()),
    }.items():
        try:
            ctx.call(canvas)
        except Exception as exc:
            found[name] = type(exc).__name__
    sent = chain(add.s(1, 1), slowly.s()).delay()
    found["sent"] = sent.id
    return found


@app.workflow(timeout=0.5)
def too_long(steps: int) -> int:
    """Executes all the time, and waits for nothing."""
    with ctx.saga() as saga:
        saga.add(mark, -1)
        for _ in range(steps):
            ctx.run(time.sleep, 0.2)
        return steps


@app.workflow
async def asends() -> list[str]:
    """Sends by the async twins."""
    sent = [await add.adelay(1, 1), await add.aapply_async((2, 2)), await chain(add.s(1, 1), add.s(1)).adelay()]
    run = await slowly.astart(50)
    await actx.sleep("50ms")
    return [result.id for result in (*sent, run)]


@app.workflow
def renewed(done: int = 0) -> int:
    """Goes on with an empty history after each third call, and is killed right before it does so, once."""
    while done < 9:
        done = mark(done + 1)
        if ctx.history_length >= 3:
            if done == 6 and not (FOLDER / "died").exists():
                (FOLDER / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            ctx.continue_as_new(done)
    return done
