"""The overview: one sentence, and the numbers behind it, for those who may see all and for those who may see some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.clock import from_ms
from liteq.context import identity
from liteq.monitor import documents
from liteq.monitor import overview as overview_module
from liteq.monitor.access.sight import Sight
from liteq.monitor.overview import overview
from liteq.monitor.series import series
from liteq.monitor.tasks.failures import failures
from liteq.monitor.tasks.queues import queue, queues
from liteq.storage.reading import overview as counting
from liteq.storage.statistics import stats
from liteq.storage.statistics.stats import Tally
from liteq.testing import FakeClock, drain


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", clock=FakeClock())

    @app.task(name="shop.add")
    def add(x: int, y: int) -> int:
        return x + y

    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def live(app) -> Callable[..., int]:
    """A living worker of this process, by what it tells of itself."""

    def enter(*queues: str, slots: int = 2) -> int:
        told = {"queues": list(queues), "tasks": ["shop.add"], "concurrency": slots}
        return app.storage.register_worker(identity.me("liteq@here"), orjson.dumps(told))

    return enter


def add(app: LiteQ, *args: int, **options: Any) -> str:
    return app.tasks["shop.add"].apply_async(args or (1, 2), **options).id


def ended(app: LiteQ, outcome: str, n: int, queue: str = "celery") -> None:
    tally = Tally()
    for _ in range(n):
        tally.ran(1.0, 0.5)
    app.storage.stats.add({("shop.add", queue, outcome, ""): tally})


def by_name(app: LiteQ, **options: Any) -> dict[str, Any]:
    return {one["name"]: one for one in queues(app, **options)["items"]}


def test_an_empty_file_is_idle(app):
    found = overview(app)
    assert found["verdict"] == "Idle: nothing waits, and no worker lives."
    assert found["well"]
    assert set(found) == {
        "now", "verdict", "well", "states", "queues", "running", "causes", "warnings", "rates",
    }  # fmt: skip
    assert found["states"]["dead"] == {"n": 0, "exact": True}


def test_work_that_nobody_takes_is_not_well(app):
    add(app)
    app.clock.advance(seconds=61)
    found = overview(app)
    assert not found["well"]
    assert found["verdict"].startswith(
        "Not well: 1 message waits in queue 'celery', for 1 min 1 s, and no worker lives"
    )


def test_a_queue_that_is_behind_and_a_task_that_fails_are_named(app, live):
    add(app)
    app.clock.advance(seconds=90)
    live("celery")
    ended(app, "succeeded", 300)
    ended(app, "failed", 100)
    verdict = overview(app)["verdict"]
    assert verdict.startswith("Working. ")
    assert "celery is 1 min 30 s behind" in verdict
    assert "shop.add fails 25%" in verdict


def test_rates_are_those_of_this_minute_and_the_one_before(app):
    app.clock.advance(seconds=30)
    ended(app, "succeeded", 180)
    rates = overview(app)["rates"]
    assert rates["done_s"] == pytest.approx(180 / 90)
    assert (rates["failed_s"], rates["run_p95_s"] > 0.5) == (0.0, True)


def test_a_chart_of_many_tasks_goes_on_to_this_minute(app, monkeypatch):
    monkeypatch.setitem(stats.series.__kwdefaults__, "limit", 3)
    for n in range(3):
        app.clock.advance_to(1_800_000_000_000 + n * 60_000)
        for outcome, name in (("succeeded", "celery"), ("succeeded", "mail"), ("failed", "mail")):
            ended(app, outcome, 60, name)
    app.clock.advance(seconds=59)
    assert [value for _, value in series(app, "done_s", 180)["points"]] == pytest.approx([2, 2, 120 / 59])
    assert series(app, "done_s", 180, see=Sight(("celery",)))["points"][0][1] == pytest.approx(1)
    assert series(app, "failed_s", 180, queue="mail")["points"][0][1] == pytest.approx(1)
    assert series(app, "run_p95_s", 180)["points"][-1][1] is not None


def test_a_queue_is_shown_with_its_workers_slots_and_pause(app, live):
    worker = live("celery", "idle", slots=3)
    add(app)
    add(app)
    app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    app.storage.queues.pause("celery", actor="ann", reason="bank")
    app.clock.advance(seconds=5)
    celery, idle = by_name(app)["celery"], by_name(app)["idle"]
    assert (celery["waiting"], celery["running"], celery["slots"], celery["workers"]) == (
        {"n": 1, "exact": True}, 1, 3, 1,
    )  # fmt: skip
    assert celery["head_wait_s"] == 5.0
    assert (celery["paused"]["by"], celery["paused"]["reason"]) == ("ann", "bank")
    assert (idle["waiting"]["n"], idle["head_wait_s"], idle["paused"]) == (0, None, None)
    assert queue(app, "celery")["tasks"] == [{"task": "shop.add", "n": 1}]


def test_what_comes_in_is_what_goes_and_what_piles_up(app, live):
    live("celery")
    for _ in range(10):
        add(app)
    assert by_name(app)["celery"]["in_s"] is None, "nothing was measured yet"
    app.storage.stats.sample()
    app.clock.advance(seconds=60)
    for _ in range(120):
        add(app)
    ended(app, "succeeded", 60)
    found = by_name(app)["celery"]
    assert (found["out_s"], found["in_s"], found["empty_in_s"]) == (1.0, 3.0, None)


def test_what_runs_longest_comes_first_with_its_arguments(app, live):
    worker = live("celery")
    first, second = add(app, 1, 1), add(app, 2, 2)
    for _ in range(2):
        app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=600)
        app.clock.advance(seconds=10)
    found = overview(app)["running"]
    assert [(one["id"], one["args"]) for one in found] == [(first, [1, 1]), (second, [2, 2])]
    blind = overview(app, see=Sight(None, payloads=False))["running"]
    assert [one["args"] for one in blind] == [None, None]


def test_a_viewer_of_some_queues_counts_no_others(app, live):
    worker = live("celery", "mail")
    for _ in range(3):
        add(app)
    add(app, queue="mail")
    app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=600)
    mine = Sight(("mail",))
    found = overview(app, see=mine)
    assert (found["states"]["pending"]["n"], found["states"]["leased"]["n"]) == (1, 0)
    assert [one["name"] for one in found["queues"]] == ["mail"]
    assert found["running"] == []
    assert "celery" not in str(found)
    assert queue(app, "celery", see=mine) is None


def test_a_viewer_of_some_queues_costs_no_more_beside_many_rows_of_others(app, monkeypatch):
    later = app.clock.now_ms() + 60_000
    for queue_ in ("celery", "celery", "mail"):
        add(app, queue=queue_)
        add(app, queue=queue_, eta=from_ms(later))
    mine = Sight(("mail",))
    numbers = overview(app, see=mine)["states"]
    assert numbers["scheduled"] == numbers["pending"] == {"n": 1, "exact": True}
    monkeypatch.setattr(overview_module, "READ", 2)
    numbers = overview(app, see=mine)["states"]
    assert numbers["pending"] == {"n": 1, "exact": True}
    assert not numbers["scheduled"]["exact"]
    assert numbers["dead"]["exact"]


def test_failures_are_counted_for_a_viewer_of_some_queues_without_their_messages(app, monkeypatch):
    @app.task(name="shop.fail")
    def fail():
        raise ValueError

    sent = [fail.apply_async(queue=queue_).id for queue_ in ("mail", "mail", "celery")]
    drain(app)
    monkeypatch.delattr(type(app.storage.reader), "find_many")
    (found,) = failures(app, Sight(("mail",)), task="shop.fail")["items"]
    assert (found["n"], found["sample"]) == (2, sent[1])
    assert failures(app, task="shop.add")["items"] == []


def test_the_status_route_says_what_it_has_not_counted_to_its_end(app, monkeypatch):
    for _ in range(4):
        add(app)
    assert documents.status(app).document["not_exact"] == []
    monkeypatch.setattr(counting.by_queue, "__defaults__", (3, 3))
    found = documents.status(app).document
    assert (found["queues"], found["not_exact"]) == ({"celery": {"pending": 3}}, ["pending"])
