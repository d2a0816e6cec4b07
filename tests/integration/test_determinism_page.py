"""docs/explanation/determinism.md quotes what the errors say: each quotation is made here, and found on the page."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.exceptions import DeterminismWarning, NotSerializable, WorkflowError
from liteq.testing import WorkflowTest
from liteq.workflow import ctx

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "determinism.md"
QUOTED = [
    " ".join(text.split()) for text in re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
]


class Code:
    """The code that a deploy changes: `version` says which there is."""

    version = 1


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    yield app
    app.close()


def on_the_page(text: str, begins: str) -> None:
    """`text` is quoted, as far as the quotation goes; names and ids of this test stand for those of the page."""
    text = " ".join(text.split())
    quoted = [line for block in QUOTED for line in block.replace(": ... ", ": ...\n").splitlines() if begins in line]
    assert quoted, (begins, QUOTED)
    for line in quoted:
        if text.startswith(line.removesuffix(" ...")):
            return
    raise AssertionError(f"the page says\n{quoted}\nand it is\n{text}")


def stuck(app: LiteQ, flow: object, id_: str) -> str:
    """Start a run of the first code, change the code, and have the run woken: what its error is."""
    Code.version = 1
    with WorkflowTest(app) as test:
        run = test.start(flow.options(id=id_))
        Code.version = 2
        run.send("go")
        assert run.status == "stuck"
        return str(run.info().error)


def test_the_lint_is_quoted(app):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        @app.workflow(name="report")
        def report() -> float:
            return time.time()

    (warning,) = caught
    assert warning.category is DeterminismWarning
    on_the_page(
        f"DeterminismWarning: {warning.message}".replace(f"{report.__qualname__}", "report"), "DeterminismWarning"
    )


def test_other_arguments_are_quoted(app):
    fetch = app.step(name="shop.fetch")(lambda what: what)

    @app.workflow(name="shop.report")
    def report() -> None:
        fetch(f"a{Code.version}")
        ctx.wait_event("go")

    on_the_page(stuck(app, report, "order-7"), "shop.report[order-7]")


def test_another_call_is_quoted(app):
    fetch, pay = (app.step(name=f"shop.{name}")(lambda: 1) for name in ("fetch", "pay"))

    @app.workflow(name="shop.order")
    def order() -> None:
        (fetch if Code.version == 1 else pay)()
        ctx.wait_event("go")

    on_the_page(stuck(app, order, "o2"), "shop.order[o2]")


def test_a_call_that_is_gone_is_quoted(app):
    fetch = app.step(name="shop.fetch")(lambda: 1)

    @app.workflow(name="shop.order")
    def order() -> None:
        fetch()
        if Code.version == 1:
            ctx.wait_event("go")

    on_the_page(stuck(app, order, "o6"), "shop.order[o6]")


def test_an_exception_that_is_swallowed_is_quoted(app):
    with pytest.warns(DeterminismWarning):

        @app.workflow(name="shop.order")
        def order() -> None:
            try:
                ctx.wait_event("go")
            except BaseException:
                pass

    with WorkflowTest(app) as test:
        run = test.start(order)
        assert run.status == "stuck"
        on_the_page(str(run.info().error), "the body of 'shop.order'")


def test_a_task_called_as_a_function_is_quoted(app):
    @app.task(name="shop.send_mail")
    def send_mail() -> None: ...

    @app.workflow(name="shop.order")
    def order() -> None:
        send_mail()

    with WorkflowTest(app) as test, pytest.raises(WorkflowError) as caught:
        test.run(order)
    on_the_page(f"WorkflowError: {caught.value}", "send_mail")


def test_a_value_that_cannot_come_back_is_quoted(app):
    load = app.step(name="shop.load")(object)

    @app.workflow(name="shop.order")
    def order() -> None:
        load()

    with WorkflowTest(app) as test, pytest.raises(NotSerializable) as caught:
        test.run(order)
    on_the_page(f"NotSerializable: {caught.value}", "NotSerializable")
