"""The two programs of the design: an order with a saga and an approval, and an agent that never pays twice."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest

from liteq.exceptions import RunConflict
from liteq.workflow import ctx
from tests.integration.runs import Killed, Worker, killed_at


@dataclass
class Order:
    id: int
    sku: str
    total: Decimal
    email: str


@dataclass
class Charge:
    id: str


@dataclass
class Receipt:
    charge: str


class Rejected(Exception):
    pass


class NoAnswer(Exception):
    pass


@pytest.fixture
def shop(app):
    done = []

    @app.step(name="setup", tx=True)
    def setup() -> None:
        ctx.tx.execute("CREATE TABLE stock (sku TEXT, n INTEGER)")
        ctx.tx.execute("INSERT INTO stock VALUES ('a', 5)")

    @app.step(name="charge", retries=5, retry_on=(ConnectionError,), timeout="30s")
    def charge(order: Order, key: str) -> Charge:
        done.append(("charge", key))
        if order.sku == "broken":
            raise ConnectionError
        return Charge(f"c{order.id}")

    @app.step(name="reserve", tx=True)
    def reserve(order: Order) -> None:
        ctx.tx.execute("UPDATE stock SET n = n - 1 WHERE sku = ?", [order.sku])

    @app.step(name="release", tx=True)
    def release(order: Order) -> None:
        ctx.tx.execute("UPDATE stock SET n = n + 1 WHERE sku = ?", [order.sku])

    @app.step(name="refund")
    def refund(c: Charge) -> None:
        done.append(("refund", c.id))

    @app.task(name="send_mail")
    def send_mail(to):
        done.append(("mail", to))

    @app.workflow(name="set_up")
    def set_up() -> None:
        setup()

    @app.workflow(name="order_flow")
    def order_flow(order: Order) -> Receipt:
        with ctx.saga() as saga:
            reserve(order)
            saga.add(release, order)
            if order.total > 1000 and not ctx.approval("Approve order", timeout="2d", default=False).ok:
                raise Rejected(order.id)
            c = charge(order, ctx.step_key)
            saga.add(refund, c)
            send_mail.delay(order.email)
            return Receipt(c.id)

    set_up.start()
    Worker(app).run()
    order_flow.done = done
    return order_flow


def stock(app):
    with app.storage.driver.read() as tx:
        return tx.execute("SELECT n FROM stock")[0][0]


def order(total: int = 5, id_: int = 7, sku: str = "a") -> Order:
    return Order(id_, sku, Decimal(total), "bob@example.org")


def test_a_small_order_goes_through(app, shop):
    run = shop.options(id="order-7").start(order())
    assert shop.options(id="order-7").delay(order()) == run
    with pytest.raises(RunConflict):
        shop.options(id="order-7").start(order(6))
    Worker(app).run()
    assert run.result(timeout=0) == Receipt("c7")
    assert [name for name, _ in shop.done] == ["charge", "mail"]
    assert stock(app) == 4


def test_a_large_order_waits_for_a_person(app, shop):
    run, refused, late = (shop.start(order(2000, n)) for n in (1, 2, 3))
    worker = Worker(app)
    worker.run()
    assert run.approve("Approve order", by="bob")
    assert refused.approve("Approve order", ok=False)
    worker.run()
    app.clock.advance(2 * 86_400)
    worker.run()
    assert run.result(0) == Receipt("c1")
    for one, id_ in ((refused, 2), (late, 3)):
        with pytest.raises(Rejected) as caught:
            one.result(0)
        assert caught.value.args == (id_,)
    assert stock(app) == 4


def test_a_broken_bank_releases_the_stock(app, shop):
    run = shop.start(order(sku="broken"))
    worker = Worker(app)
    for _ in range(7):
        worker.run()
        app.clock.advance(60)
    with pytest.raises(ConnectionError):
        run.result(0)
    keys = [key for name, key in shop.done if name == "charge"]
    assert len(keys) == 6
    assert len(set(keys)) == 1, "one key for other systems in each attempt"
    assert stock(app) == 5


@pytest.mark.parametrize("n", range(1, 9))
def test_an_agent_that_is_killed_at_any_commit_pays_for_no_answer_twice(app, n):
    paid, tools = [], []

    @app.step(name="llm", memo="30d", retries=5, timeout="5m")
    def llm(model: str, messages: list[dict]) -> dict:
        paid.append(len(messages))
        if len(messages) < 5:
            return {"tools": [len(messages), len(messages) + 1], "text": ""}
        return {"tools": [], "text": f"{len(messages)} messages"}

    @app.step(name="run_tool")
    def run_tool(n: int) -> dict:
        tools.append(n)
        return {"tool": n}

    @app.workflow(name="assistant")
    def assistant(question: str, budget: int = 20) -> str:
        messages = [{"user": question}]
        for _ in range(budget):
            reply = llm("m1", messages)
            messages.append(reply)
            if not reply["tools"]:
                return reply["text"]
            messages += ctx.gather(ctx.spawn(run_tool, t) for t in reply["tools"])
        raise NoAnswer(question)

    run = assistant.start("why?")
    worker = Worker(app)
    with killed_at(app, n, before=False, verbs=("checkpoint", "spawn")):
        worker.run()
    worker.run()
    assert run.result(0) == "7 messages"
    assert paid == [1, 4, 7]
    assert tools == [1, 2, 4, 5]
    again = assistant.start("why?")
    worker.run()
    assert again.result(0) == "7 messages"
    assert paid == [1, 4, 7], "another run asks the same questions"


def test_a_kill_inside_the_paid_call_pays_once_more_alone(app):
    paid = []

    @app.step(name="llm", memo=True)
    def llm(n: int) -> int:
        paid.append(n)
        if paid == [1, 2]:
            raise Killed
        return n

    @app.workflow(name="flow")
    def flow() -> list[int]:
        return [llm(1), llm(2), llm(3)]

    run = flow.start()
    Worker(app).run()
    assert run.result(0) == [1, 2, 3]
    assert paid == [1, 2, 2, 3]
