"""Data that people and other programs send to a run: the body gets it as the type that it asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from liteq.exceptions import NotSerializable
from liteq.workflow import ctx

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Color(Enum):
    RED = "red"


class Visit(BaseModel):
    when: datetime
    price: Decimal = Decimal(0)


SENT = [
    (Visit, {"when": WHEN, "price": Decimal("1.50")}, Visit(when=WHEN, price=Decimal("1.50"))),
    (Visit, {"when": WHEN.isoformat(), "price": "1.50"}, Visit(when=WHEN, price=Decimal("1.50"))),
    (list[Visit], [{"when": WHEN}], [Visit(when=WHEN)]),
    (Decimal, "1.50", Decimal("1.50")),
    (Decimal, Decimal("1.50"), Decimal("1.50")),
    (datetime, WHEN.isoformat(), WHEN),
    (datetime, WHEN, WHEN),
    (int, "3", 3),
    (bytes, b"\xff", b"\xff"),
    (Color, Color.RED, Color.RED),
    (Visit | None, None, None),
    (Literal["a", "b"], "a", "a"),
    (object, {"when": WHEN}, {"when": WHEN}),
]


@pytest.mark.parametrize(("kind", "sent", "got"), SENT)
def test_an_event_comes_as_the_type_that_its_wait_names(app, worker, kind, sent, got):
    came = []

    @app.workflow(name="waits")
    def waits() -> None:
        came.append(ctx.wait_event("e", type=kind))

    run = waits.start()
    run.send("e", sent)
    worker.run()
    assert run.result(0) is None
    assert came == [got]
    assert type(came[0]) is type(got)


def test_the_event_of_a_start_may_be_a_model(app, worker):
    @app.workflow(name="waits")
    def waits() -> str:
        return str(ctx.wait_event("e", type=Visit).when)

    run = waits.options(event=("e", Visit(when=WHEN))).start()
    worker.run()
    assert run.result(0) == str(WHEN)


def test_an_event_of_another_type_is_named(app, worker):
    @app.workflow(name="waits")
    def waits() -> None:
        ctx.wait_event("e", type=int)

    run = waits.start()
    run.send("e", "many")
    worker.run()
    with pytest.raises(NotSerializable, match="the event 'e': value does not fit its annotation int"):
        run.result(0)


@pytest.mark.parametrize(("kind", "sent", "got"), SENT)
def test_a_decision_brings_data_of_the_form(app, worker, kind, sent, got):
    came = []

    @app.workflow(name="asks")
    def asks() -> None:
        came.append(ctx.approval("A", form=kind).data)

    run = asks.start()
    worker.run()
    assert run.approve("A", data=sent)
    worker.run()
    assert run.result(0) is None
    assert came == [got]
    assert type(came[0]) is type(got)


@pytest.mark.parametrize(
    ("kind", "wrong", "where"),
    [
        (list[Visit], [{"when": 1.5}], r"data\[0\]\.when"),
        (list[Visit], {"when": WHEN}, "data"),
        (Literal["a"], "b", "data"),
        (Annotated[int, Field(gt=0)], 0, "data: it is more than 0"),
        (Annotated[int, Field(lt=9)], 9, "data: it is less than 9"),
        (dict[str, int], {"a": "b"}, "a: it is to be of type integer"),
        ({"type": "object", "properties": {"n": {"enum": [0, 1]}}}, {"n": True}, "n: it is one of"),
        ({"type": "object", "properties": {"n": {"enum": [True]}}}, {"n": 1}, "n: it is one of"),
    ],
)
def test_data_that_does_not_fit_a_form_without_a_class_decides_nothing(app, worker, kind, wrong, where):
    @app.workflow(name="asks")
    def asks() -> None:
        ctx.approval("A", form=kind)

    run = asks.start()
    worker.run()
    with pytest.raises(ValueError, match=f"does not fit: {where}"):
        run.approve("A", data=wrong)
    assert [one.title for one in run.approvals()] == ["A"]
