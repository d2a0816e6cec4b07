"""Steps of an app's own in a worker, the timer that they use, and the options that the app adds to the command."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from liteq import LiteQ, bootsteps
from liteq.exceptions import ImproperlyConfigured
from liteq.testing import FakeClock, start_worker
from liteq.worker.compat.bootsteps import in_order
from liteq.worker.compat.timer import Timer


@pytest.fixture
def app(tmp_path):
    app = LiteQ("app", broker=f"sqlite:///{tmp_path}/q.db", durability="relaxed", set_as_current=False)
    yield app
    app.close()


def test_a_step_is_started_and_stopped_with_the_worker(app, eventually):
    told = []

    class Alive(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Timer"}

        def __init__(self, worker, **kwargs):
            super().__init__(worker, **kwargs)
            told.append("made")

        def start(self, worker):
            self.tref = worker.timer.call_repeatedly(0.02, told.append, ("beat",), priority=10)

        def stop(self, worker):
            self.tref.cancel()
            told.append("stopped")

    class Left(bootsteps.Step):
        def include_if(self, parent):
            return False

        def create(self, parent):
            told.append("never")

    app.steps["worker"].update([Alive, Left])
    with start_worker(app, pool="threads"):
        eventually(lambda: told.count("beat") >= 3)
    assert told[0] == "made"
    assert told[-1] == "stopped"
    assert "never" not in told


def test_what_a_step_creates_is_started_and_stopped_by_it(app):
    told = []

    class Server:
        def start(self):
            told.append("start")

        def stop(self):
            told.append("stop")

    class Serving(bootsteps.StartStopStep):
        def create(self, parent):
            return Server()

    class After(bootsteps.StartStopStep):
        requires = (Serving,)

        def start(self, parent):
            told.append("start after")

        def stop(self, parent):
            raise OSError("no matter: the others are stopped")

    app.steps["consumer"] |= {After, Serving}
    with start_worker(app):
        assert told == ["start", "start after"]
    assert told == ["start", "start after", "stop"]


def test_the_order_is_by_what_they_require():
    class A(bootsteps.Step):
        last = True

    class B(bootsteps.Step):
        requires = ("proj.steps:C",)

    class C(bootsteps.Step): ...

    assert in_order({A, B, C}) == [C, B, A]


def test_a_consumer_of_a_broker_s_messages_is_refused(app):
    class Consumer(bootsteps.ConsumerStep): ...

    app.steps["consumer"].add(Consumer)
    with pytest.raises(RuntimeError, match="no broker"), start_worker(app):
        pass
    with pytest.raises(ImproperlyConfigured):
        Consumer(None)


def test_the_timer_calls_at_its_times():
    clock, calls = FakeClock(), []
    timer = Timer(clock.monotonic)
    timer.call_repeatedly(2, calls.append, ("each 2 s",))
    timer.call_after(3, calls.append, ("once",))
    for _ in range(5):
        clock.advance(1)
        timer.turn()
    assert calls == ["each 2 s", "once", "each 2 s"]
    assert timer.due_at == 6.0


def test_the_timer_calls_again_after_an_error(caplog):
    timer, calls = Timer(), []
    timer.call_repeatedly(0, lambda: calls.append(1) or 1 / 0)
    taken_back = timer.call_after(0, calls.append, (2,))
    timer.cancel(taken_back)
    with caplog.at_level(logging.ERROR, "liteq.worker"):
        timer.turn()
        timer.turn()
    assert calls == [1, 1]
    assert "ZeroDivisionError" in caplog.text
    timer.clear()
    assert timer.due_at == float("inf")


OPTIONS = """
from click import Option
from liteq import LiteQ, bootsteps
from liteq.signals import user_preload_options, worker_ready

app = LiteQ("site", broker="sqlite:///site.db")
app.user_options["worker"].add(Option(("--site",), default="none"))
app.user_options["worker"].add(Option(("--zone",)))
app.user_options["preload"].add(Option(("--rooms",), type=int, default=lambda: "4"))

class Site(bootsteps.Step):
    def __init__(self, parent, site=None, **options):
        print("the site is", site, "with", options["concurrency"], flush=True)

app.steps["worker"].add(Site)

@user_preload_options.connect
def told(app, options, **kwargs):
    print("told", options, flush=True)

@worker_ready.connect
def stop(sender, **kwargs):
    sender.stop()
"""


def test_options_of_the_app_s_own_reach_its_steps(tmp_path):
    (tmp_path / "site_app.py").write_text(OPTIONS)

    def run(*options):
        command = [sys.executable, "-m", "liteq", "-A", "site_app", "worker", "-c", "1", "--without-tasks", *options]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
        return ended.returncode, ended.stdout + ended.stderr

    code, said = run("--site", "north")
    told = "told {'rooms': 4, 'site': 'north', 'zone': None}" in said
    assert (code, "the site is north with 1" in said, told) == (0, True, True), said
    said = run()[1]
    assert "the site is none with 1" in said
    assert "told {'rooms': 4, 'site': 'none', 'zone': None}" in said
    code, said = run("--cite", "north")
    assert (code, "--cite" in said) == (2, True), said
