"""The acts of `liteq top` on a real file: done, refused, and noted with the person's name and reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liteq import LiteQ
from liteq.cli.top.hands import HANDS, acting
from liteq.cli.top.reading import read
from liteq.cli.top.tables import VIEWS
from liteq.states import State
from liteq.testing import drain

from ...integration.worker_process import wait_for


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)

    @app.task(name="shop.bad")
    def bad(n: int) -> None:
        raise ValueError("no")

    app.storage.migrate()
    yield app
    app.close()


def do(app: LiteQ, letter: str, kind: str, *keys: str) -> str:
    return HANDS[letter].do(app, kind, keys, acting("it is broken"))


def state_of(app: LiteQ, id_: str) -> State:
    record = app.storage.reader.find(id_)
    assert record is not None
    return State(record.state)


def noted(app: LiteQ) -> list[tuple[str, str, str]]:
    return [(one.action, one.reason, one.source) for one in app.storage.audit.page()]


def test_a_queue_is_paused_and_goes_on(app):
    assert do(app, "P", "queue", "mail") == "mail is paused"
    assert list(app.storage.queues.paused()) == ["mail"]
    assert do(app, "P", "queue", "mail") == "mail goes on"
    assert not app.storage.queues.paused()
    assert noted(app) == [("resume", "it is broken", "tui"), ("pause", "it is broken", "tui")]


def test_a_limit_is_paused_for_ten_minutes_and_goes_on(app):
    app.storage.limits.set("api", rate="100/m")
    assert do(app, "P", "limit", "api") == "api is paused for 600 s: what runs goes on, nothing more of it starts."
    assert app.storage.limits.get("api").reason == "it is broken"
    assert do(app, "P", "limit", "api") == "api goes on."
    assert app.storage.limits.get("api").paused_until is None
    assert noted(app) == [("limit resume", "it is broken", "tui"), ("limit pause", "it is broken", "tui")]


def test_a_dead_letter_is_requeued_and_what_is_none_is_refused(app):
    dead = app.tasks["shop.bad"].delay(1).id
    drain(app)
    waits = app.tasks["shop.bad"].delay(2).id
    said = do(app, "R", "task", dead, waits)
    assert state_of(app, dead) is State.PENDING
    assert "was put back in its queue" in said
    assert f"requeue does nothing to {waits}" in said


def test_all_of_a_cause_are_requeued(app):
    ids = [app.tasks["shop.bad"].delay(n).id for n in range(3)]
    drain(app)
    (line,) = VIEWS["3"].lines(read(app, ("failures",)))
    assert line.cells[:2] == ("shop.bad", "3")
    do(app, "R", "cause", line.key)
    wait_for(lambda: [state_of(app, one) for one in ids] == [State.PENDING] * 3)


def test_a_task_that_waits_is_revoked(app):
    waits = app.tasks["shop.bad"].delay(1).id
    do(app, "X", "task", waits)
    assert state_of(app, waits) is State.CANCELLED


@pytest.mark.parametrize("key", sorted(VIEWS))
def test_each_table_is_made_of_what_the_file_gives(app, key):
    app.tasks["shop.bad"].delay(1)
    view = VIEWS[key]
    assert bool(view.lines(read(app, (view.name,), "state:pending"))) == (key in {"1", "7"})
