"""The parts of a run that are not for everybody: approvals, errors that quote arguments, and keys made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ, chain
from liteq.clock import FakeClock
from liteq.testing import drain
from liteq.workflow import ctx
from tests.integration.runs import Worker

CARD = "4111 1111"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    with LiteQ("shop", broker=f"sqlite:///{tmp_path / 'q.db'}", clock=FakeClock(), set_as_current=False) as made:
        made.storage.migrate()

        @made.step(name="pay", retries=0)
        def pay(card: str) -> None:
            raise ValueError(f"{card} was declined")

        @made.step(name="ask", limits=["user:{user}"])
        def ask(user: int) -> None: ...

        @made.workflow(name="approved")
        def approved() -> None:
            ctx.approval("Pay it?", details={"total": 1200})

        @made.workflow(name="buy", sensitive=("card",))
        def buy(card: str) -> None:
            pay(card)

        @made.workflow(name="talk")
        def talk(user: int) -> None:
            ask(user)

        yield made


def begun(app: LiteQ, name: str, *args: Any) -> str:
    """The id of a run that has gone as far as it goes now."""
    id_: str = app.tasks[name].start(*args).id
    Worker(app).run()
    return id_


def test_what_an_approval_tells_is_for_viewers_with_payloads(app, client):
    id_ = begun(app, "approved")
    told = [client(app, role).get(f"api/v1/workflows/{id_}").json["run"]["approvals"] for role in ("viewer", "admin")]
    assert [one["details"] for (one,) in told] == ["(hidden: it needs the right `payloads`)", {"total": 1200}]


def test_an_error_of_a_run_hides_what_its_arguments_hide(app, client):
    id_ = begun(app, "buy", CARD)
    for path in (f"api/v1/workflows/{id_}", "api/v1/workflows", f"workflows/{id_}", f"api/v1/tasks/{id_}"):
        text = client(app).get(path).text
        assert "*** was declined" in text, path
        assert CARD not in text, path


def test_a_run_that_gets_its_first_argument_from_a_chain_hides_the_others_as_any(app, client):
    @app.task(name="total")
    def total() -> int:
        return 1200

    @app.workflow(name="charge", sensitive=("card",))
    def charge(total: int, card: str) -> None:
        raise ValueError(f"{card} was declined")

    id_ = chain(total.s(), charge.s(CARD)).apply_async().id
    drain(app)
    text = client(app, "admin").get(f"api/v1/workflows/{id_}").text
    assert "*** was declined" in text
    assert CARD not in text


@pytest.mark.parametrize(("role", "shown"), [("viewer", "limit user:***"), ("admin", "limit user:42")])
def test_the_key_for_which_a_run_waits_is_cut_as_on_the_page_of_limits(app, client, role, shown):
    app.limits.set("user:*", rate="1/h")
    begun(app, "talk", 42)
    id_ = begun(app, "talk", 42)
    assert app.storage.runs.find(id_).waiting_for == ("limit user:42",)
    for path in (f"api/v1/workflows/{id_}", "api/v1/workflows", f"api/v1/tasks/{id_}/why"):
        text = client(app, role).get(path).text
        assert shown in text, path
        assert role == "admin" or "user:42" not in text, path
