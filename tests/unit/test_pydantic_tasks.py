"""Tasks with `pydantic=True`, as Celery has them since 5.5."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel, ValidationError

from liteq import LiteQ, chain
from liteq.exceptions import NotSerializable
from liteq.testing import drain


class Order(BaseModel):
    number: int
    note: str = ""


class Receipt(BaseModel):
    order: int


@pytest.fixture
def app(tmp_path):
    app = LiteQ("proj", broker=f"sqlite:///{tmp_path}/tasks.db")
    yield app
    app.close()


def run(app, task, *args, **kwargs):
    result = task.delay(*args, **kwargs)
    drain(app)
    return result.get()


def test_a_dict_is_validated_into_the_model_and_a_returned_model_is_dumped(app):
    @app.task(pydantic=True)
    def pay(order: Order) -> Receipt:
        assert isinstance(order, Order)
        return Receipt(order=order.number)

    assert run(app, pay, {"number": "7"}) == {"order": 7}
    assert run(app, pay, order={"number": 7}) == {"order": 7}


def test_a_model_is_dumped_when_it_is_sent(app):
    @app.task(pydantic=True, bind=True)
    def pay(self, order: Order, copy: Order | None = None) -> int:
        return order.number + (copy.number if copy else 0)

    assert run(app, pay, Order(number=1)) == 1
    assert run(app, pay, Order(number=1), copy=Order(number=2)) == 3
    assert run(app, pay, Order(number=1), None) == 1


def test_models_pass_through_a_chain(app):
    @app.task(pydantic=True)
    def make(number: int) -> Order:
        return Order(number=number)

    @app.task(pydantic=True)
    def number(order: Order) -> int:
        return order.number

    result = chain(make.s(3), number.s())()
    drain(app)
    assert result.get() == 3


def test_what_the_model_does_not_take_fails_the_task(app):
    @app.task(pydantic=True)
    def pay(order: Order): ...

    result = pay.delay({"number": "many"})
    drain(app)
    assert result.failed()
    assert "number" in str(result.result)


def test_strict_context_and_dump_kwargs_are_pydantic_s(app):
    @app.task(pydantic=True, pydantic_strict=True)
    def strictly(order: Order): ...

    with pytest.raises(ValidationError):
        strictly({"number": "7"})

    @app.task(pydantic=True, pydantic_dump_kwargs={"exclude_defaults": True})
    def brief(order: Order) -> Order:
        return order

    assert brief({"number": 7}) == {"number": 7}


def test_a_coroutine_may_be_such_a_task(app):
    @app.task(pydantic=True)
    async def pay(order: Order) -> Receipt:
        await asyncio.sleep(0)
        return Receipt(order=order.number)

    assert run(app, pay, Order(number=9)) == {"order": 9}


def test_without_the_option_a_model_is_refused_with_a_hint(app):
    @app.task
    def pay(order): ...

    with pytest.raises(NotSerializable, match="pydantic=True"):
        pay.delay(Order(number=1))
