"""`liteq metrics` and the page: read from the file at each scrape, by port, page and textfile."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from liteq import LiteQ
from liteq.cli.parts.session import Session
from liteq.exceptions import ImproperlyConfigured, ReadTimeout
from liteq.metrics import exposition, make_collector
from liteq.metrics.facts import Facts
from liteq.metrics.names import LITEQ, series
from liteq.metrics.reading import EXACT, read
from liteq.testing import FakeClock, start_worker


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(tmp_path, clock) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False)

    @app.task(name="shop.mail")
    def mail(n: int) -> int:
        if n < 0:
            raise OSError("no")
        return n

    app.storage.migrate()
    yield app
    app.close()


def told(text: bytes) -> dict[str, dict[tuple, float]]:
    found: dict[str, dict[tuple, float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def work(app: LiteQ, *numbers: int) -> None:
    with start_worker(app):
        for n in numbers:
            app.tasks["shop.mail"].delay(n).get(timeout=60, propagate=False)


def counters(app: LiteQ) -> dict[tuple, float]:
    return {
        (name, labels): value
        for name, values in told(exposition(app)).items()
        if name.endswith(("_total", "_bucket", "_count", "_sum"))
        for labels, value in values.items()
    }


def test_a_scrape_tells_of_work_that_was_done_and_that_waits(app, clock):
    work(app, 1, 2, -1)
    app.tasks["shop.mail"].apply_async((3,), queue="slow")
    clock.advance(7)
    found = told(exposition(app))
    outcomes = {dict(key)["outcome"]: n for key, n in found["liteq_tasks_total"].items()}
    assert outcomes == {"succeeded": 2, "failed": 1}
    assert found["liteq_task_errors_total"] == {(("exception", "OSError"), ("task", "shop.mail")): 1}
    assert found["liteq_task_run_seconds_count"] == {(("queue", "celery"), ("task", "shop.mail")): 3}
    assert found["liteq_queue_messages"][("queue", "slow"), ("state", "pending")] == 1
    assert found["liteq_queue_head_wait_seconds"][(("queue", "slow"),)] == 7
    assert found["liteq_messages"][(("state", "dead"),)] == 1
    assert found["liteq_file_bytes"][()] > 0


def test_every_name_is_told_by_a_file_without_anything(app):
    families = {family.name for family in text_string_to_metric_families(exposition(app).decode())}
    assert families == {metric.name for metric in LITEQ}


def test_a_worker_is_told_without_its_machine_unless_asked(app):
    with start_worker(app, hostname="w1@pod-7f9c"):
        assert list(told(exposition(app))["liteq_worker_up"]) == [(("worker", "w1"),)]
        whole = told(exposition(app, per_worker=True))["liteq_worker_up"]
        assert list(whole) == [(("worker", "w1@pod-7f9c"),)]
        slots = told(exposition(app))["liteq_queue_workers"]
        assert slots[(("queue", "celery"),)] == 1


def test_counters_never_go_back(app, clock):
    work(app, 1, 2, -1)
    before = counters(app)
    for days in (1, 3, 100):
        clock.advance(days * 86_400)
        app.storage.stats.tidy()
        after = counters(app)
        assert all(after[key] >= value for key, value in before.items())
    work(app, 3)
    assert sum(counters(app).values()) > sum(before.values())


def test_a_paused_queue_is_told(app):
    app.storage.queues.pause("mail", actor="ann")
    assert told(exposition(app))["liteq_queue_paused"][(("queue", "mail"),)] == 1


def test_what_cannot_be_counted_in_time_is_counted_less_far_and_says_so(app, monkeypatch):
    limits: list[int] = []
    overview = app.storage.views.overview

    def slow(limit: int) -> object:
        limits.append(limit)
        if limit > 10_000:
            raise ReadTimeout("it took too long")
        return overview(limit=1)

    monkeypatch.setattr(app.storage.views, "overview", slow)
    for n in (1, 2):
        app.tasks["shop.mail"].delay(n)
    made = make_collector(app)
    capped = [sample for family in made.collect() if family.name == "liteq_count_capped" for sample in family.samples]
    assert {sample.labels["metric"]: sample.value for sample in capped} == {
        "liteq_messages": 1, "liteq_queue_messages": 1, "liteq_limit_held": 0,
    }  # fmt: skip
    list(made.collect())
    assert limits == [1_000_000, 10_000, 10_000]


def test_of_many_files_each_is_counted_no_further_than_it_could_be(app, monkeypatch):
    from liteq.cli.serving import metrics

    counted: list[int] = []

    def reads(app: LiteQ, *, per_worker: bool, limit: int) -> Facts:
        counted.append(limit)
        return read(app, per_worker=per_worker)._replace(capped=["liteq_messages"], counted_to=7)

    monkeypatch.setattr("liteq.metrics.collector.read", reads)

    def sessions(*_: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(path="a.db", app=LiteQ("shop", broker=app.broker_url, set_as_current=False))]

    monkeypatch.setattr(metrics, "sessions", sessions)
    made = metrics._of_files(cast(Session, None), ("a.db",), (), per_worker=False)
    for _ in range(2):
        assert list(made.collect())
    assert counted == [EXACT, 7]


def test_a_misspelt_vocabulary_is_refused_with_the_nearest(app):
    with pytest.raises(ImproperlyConfigured, match="did you mean 'celery'"):
        exposition(app, ["celry"])


def test_without_the_library_it_says_what_to_install(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImproperlyConfigured, match="pip install prometheus-client"):
        exposition(app)


# -- the command -----------------------------------------------------------------------------------------------------


def liteq(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "liteq", "-b", f"sqlite:///{folder}/q.db", "metrics", *words]


def test_the_command_serves_on_the_loopback(app, tmp_path):
    app.tasks["shop.mail"].delay(1)
    process = subprocess.Popen(liteq(tmp_path, "--port", "0", "--names", "celery"), stderr=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.stderr.readline())[0]
        with urlopen(address, timeout=60) as answer:
            found = told(answer.read())
        assert found["celery_queue_length"] == {(("queue_name", "celery"),): 1}
        assert found["liteq_queue_messages"][("queue", "celery"), ("state", "pending")] == 1
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stderr.close()
    with pytest.raises(URLError):
        urlopen(address, timeout=1)


def test_a_scrape_of_a_queue_that_is_away_says_so(tmp_path):
    (home := tmp_path / "home").mkdir(0o700)
    with LiteQ(broker=f"sqlite:///{home}/q.db", set_as_current=False) as app:
        app.storage.migrate()
    process = subprocess.Popen(liteq(home, "--port", "0"), stderr=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.stderr.readline())[0]
        home.rename(tmp_path / "away")
        with pytest.raises(HTTPError) as refused:
            urlopen(address, timeout=60)
        with refused.value as answer:
            assert answer.code == 503
            assert f"{home}/q.db cannot be " in answer.read().decode()
        (tmp_path / "away").rename(home)
        with urlopen(address, timeout=60) as answer:
            assert "liteq_messages" in answer.read().decode()
    finally:
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert said.count("\n") == 1, said
    assert "the metrics cannot be read now: " in said


def test_the_command_writes_a_file_whole(app, tmp_path):
    target = tmp_path / "liteq.prom"
    target.write_text("of before")
    done = subprocess.run(liteq(tmp_path, "--textfile", str(target)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert series(LITEQ[-1])[0] in target.read_text()
    assert sorted(path.name for path in tmp_path.glob("liteq.prom*")) == ["liteq.prom"]


def test_a_file_that_cannot_be_read_leaves_the_textfile_as_it_was(app, tmp_path):
    target = tmp_path / "liteq.prom"
    target.write_text("of before")
    (tmp_path / "other").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "liteq", "-b", f"sqlite:///{tmp_path}/none.db", "metrics", "--textfile", str(target)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 69
    assert target.read_text() == "of before"


def test_the_command_tells_metrics_as_json(app, tmp_path):
    app.tasks["shop.mail"].delay(1)

    def told_as_json(*words):
        command = liteq(tmp_path, "--json", *words)
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True).stdout)

    found = {one["name"]: one for one in told_as_json()}
    messages = found["liteq_queue_messages"]
    assert messages["kind"] == "gauge"
    assert {"name": "liteq_queue_messages", "labels": {"queue": "celery", "state": "pending"}, "value": 1} in [
        {**one, "value": int(one["value"])} for one in messages["samples"]
    ]
    assert told_as_json("--textfile", str(tmp_path / "m.prom")) == {"textfile": str(tmp_path / "m.prom")}


def test_the_command_refuses_two_places_at_once(app, tmp_path):
    done = subprocess.run(liteq(tmp_path, "--port", "0", "--textfile", "x"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "choose --port or --textfile" in done.stderr


def test_a_place_that_cannot_be_had_is_one_line(app, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = str(taken.getsockname()[1])
        for words, says in (
            (("--port", at), "use another --port"),
            (("--textfile", "none/m.prom"), "none/m.prom cannot be written: No such file"),
        ):
            done = subprocess.run(liteq(tmp_path, *words), capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
            assert says in done.stderr


def test_limits_of_the_code_are_told_and_those_of_run_time_are_not(app):
    app.storage.limits.declare({"user:*": (None, 2)})
    app.storage.limits.set("user:ann@example.org", concurrent=1)
    text = exposition(app)
    assert told(text)["liteq_limit_max"] == {(("key", "user:*"),): 2}
    assert b"example.org" not in text


def test_a_hundred_limits_of_the_code_are_told(app):
    app.storage.limits.declare({f"api:{n:03}": (None, 2) for n in range(101)})
    told_of = told(exposition(app))["liteq_limit_running"]
    assert sorted(dict(key)["key"] for key in told_of) == [f"api:{n:03}" for n in range(100)]
