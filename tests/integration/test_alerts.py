"""`liteq alert` and the setting `alert_to`: a target is told once when something begins, once when it is well again."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.alerts import Target, Watch, alerts
from liteq.exceptions import ImproperlyConfigured, StorageBusy
from liteq.testing import FakeClock, start_worker

from .receiver import Receiver


def told(receiver: Receiver) -> list[tuple[str, str, str]]:
    return [(one["event"], one["rule"], one["subject"]) for one in receiver.posts]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(tmp_path, clock) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", clock=clock, set_as_current=False)

    @app.task(name="shop.mail")
    def mail(n: int) -> None: ...

    app.storage.migrate()
    yield app
    app.close()


def look(app: LiteQ, *targets: str) -> None:
    """One look of a watch of its own, until it has told."""
    watch = Watch(app, [Target.of(target) for target in targets])
    watch.look()
    watch.finish()


def keys(app: LiteQ) -> set[str]:
    return {one.key for one in alerts(app)}


# -- rules -----------------------------------------------------------------------------------------------------------


def test_a_queue_whose_head_waits(app, clock):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(300)
    assert keys(app) == {"no_worker"}
    clock.advance(1)
    assert keys(app) == {"no_worker", "head_wait mail"}
    (found,) = [one for one in alerts(app) if one.rule == "head_wait"]
    assert found.text == "the head of queue 'mail' has waited for 5 min 1 s (1 wait)"


def test_limits_are_settings(app, clock):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    app.conf.alert_head_wait = 10
    clock.advance(11)
    assert "head_wait mail" in keys(app)


def test_a_queue_that_no_worker_takes_from(app, clock):
    with start_worker(app, queues=["celery"]):
        app.tasks["shop.mail"].apply_async((1,), queue="mail")
        assert keys(app) == {"no_worker mail"}


def test_new_dead_letters(app, clock):
    app.conf.alert_dead_letters = 2

    @app.task(name="shop.bad")
    def bad() -> None:
        raise ValueError("no")

    with start_worker(app):
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                bad.delay().get(timeout=60)
    assert "dead_letters" in keys(app)
    clock.advance(3_700)
    assert "dead_letters" not in keys(app)


def test_a_late_schedule(app, clock):
    app.conf.beat_schedule = {"nightly": {"task": "shop.mail", "schedule": 30.0, "args": (1,)}}
    from liteq.beat import Beat

    Beat(app).start()
    clock.advance(95)
    assert "schedule_late nightly" in keys(app)


def test_an_approval_that_waits(app, clock):
    from liteq.testing import drain
    from liteq.workflow import ctx

    @app.workflow(name="shop.order")
    def order() -> None:
        ctx.approval("Go?")

    order.options(id="order-7").start()
    drain(app)
    assert not any(key.startswith("approval") for key in keys(app))
    clock.advance(86_401)
    assert "approval_overdue order-7 Go?" in keys(app)


def test_failures_of_one_exception(app):
    app.conf.alert_failures = 3

    @app.task(name="shop.bad")
    def bad(n: int) -> None:
        raise OSError("no") if n else ValueError("no")

    with start_worker(app):
        for n in (1, 1, 0, 1):
            bad.delay(n).get(timeout=60, propagate=False)
    (found,) = [one for one in alerts(app) if one.rule == "failures"]
    assert found.key == "failures shop.bad OSError"
    assert found.text.startswith("shop.bad failed 3 times of OSError in the last hour")


def test_stuck_runs_are_one_alert_a_workflow(app):
    from liteq.testing import drain
    from liteq.workflow import ctx

    def waits_for(name: str) -> Any:
        @app.workflow(name="shop.order")
        def order() -> None:
            ctx.wait_event(name)

        return order

    runs = [waits_for("go").options(id=f"order-{n}").start() for n in range(2)]
    drain(app)
    waits_for("gone")  # another code than that of their history
    for run in runs:
        run.send("go")
    drain(app)
    (found,) = [one for one in alerts(app) if one.rule == "run_stuck"]
    assert found.text.startswith("2 runs of shop.order are stuck")


def test_the_storage_has_a_warning(app, monkeypatch):
    monkeypatch.setattr(app.storage.driver, "warnings", lambda: ["the log has grown to 70 MiB"])
    assert "storage" in keys(app)


def test_a_paused_queue_is_no_trouble(app, clock):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    app.storage.queues.pause("mail", actor="ann", reason="deploy")
    clock.advance(301)
    assert keys(app) == {"no_worker"}
    (found,) = alerts(app)
    assert "mail" not in found.text


# -- telling ---------------------------------------------------------------------------------------------------------


def test_a_url_is_told_once_of_the_beginning_and_once_of_the_end(app, clock, receiver):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    for _ in range(2):
        look(app, receiver.url)
        clock.advance(60)
    assert told(receiver) == [("alert", "head_wait", "mail"), ("alert", "no_worker", "")]
    assert receiver.posts[0]["text"] == "the head of queue 'mail' has waited for 5 min 1 s (1 wait)"
    app.storage.purge()
    for _ in range(3):
        look(app, receiver.url)
        clock.advance(60)
    assert told(receiver)[2:] == [("well", "head_wait", "mail")]
    assert receiver.posts[2]["until"] is not None


def test_two_alerts_of_one_rule_that_one_look_finds_have_ids_of_their_own(app, clock, receiver):
    """A receiver drops what comes again under an id that it has seen."""
    for queue in ("mail", "pay"):
        app.tasks["shop.mail"].apply_async((1,), queue=queue)
    clock.advance(301)
    look(app, receiver.url)
    clock.advance(60)
    look(app, receiver.url)
    assert sorted(told(receiver)) == [
        ("alert", "head_wait", "mail"), ("alert", "head_wait", "pay"), ("alert", "no_worker", ""),
    ]  # fmt: skip
    assert len(set(receiver.keys)) == 3


def test_a_target_that_refuses_is_told_again_and_it_is_said(app, clock, receiver, caplog):
    receiver.answers = [503]
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    look(app, receiver.url)
    assert "was not told" in caplog.text
    assert "HTTP Error 503" in caplog.text
    assert "secret" not in caplog.text
    look(app, receiver.url)
    assert len(receiver.posts) == 1  # not at once
    clock.advance(5)
    look(app, receiver.url)
    assert len(receiver.posts) == 2
    assert len(set(receiver.keys)) == 1  # the receiver can tell that it is the same
    assert receiver.keys == [post["id"] for post in receiver.posts]


def test_a_command_gets_variables_and_json(app, clock, tmp_path):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    look(app, f'cat > {tmp_path}/$LITEQ_ALERT_RULE; echo "$LITEQ_ALERT_TEXT" > {tmp_path}/text')
    document = json.loads((tmp_path / "head_wait").read_bytes())
    assert (document["event"], document["subject"], document["app"]) == ("alert", "mail", "shop")
    assert "has waited for 5 min 1 s" in (tmp_path / "text").read_text()


def test_a_command_that_fails_is_told_again(app, clock, caplog):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    look(app, "echo the pager is off >&2; false")
    assert "(the pager is off); again in 5 s" in caplog.text


def test_what_the_file_does_not_take_at_once_is_written_down_later(app, clock, monkeypatch, caplog, eventually):
    """The watch of a worker gets out of its way for good then: what it raised came before each heartbeat."""
    told, busy = app.storage.alerts.told, [StorageBusy(1.0)]

    def refused_once(*args: Any) -> None:
        if busy:
            raise busy.pop()
        told(*args)

    monkeypatch.setattr(app.storage.alerts, "told", refused_once)
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    watch = Watch(app, [Target.of("true")])
    watch.look()
    eventually(lambda: all(one.teller.ended() is not None for one in watch._tellings))
    watch.turn()
    assert ("cannot be used at the moment" in caplog.text, watch.tells) == (True, True)
    watch.turn()
    assert (watch.tells, busy) == (False, [])


def test_the_pauses_double_up_to_ten_minutes(app, clock, caplog):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    for _ in range(9):
        look(app, "false")
        clock.advance(600)
    pauses = [int(one) for one in re.findall(r"again in (\d+) s or later: the head", caplog.text)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]


@pytest.mark.parametrize("scheme", ["mailto", "MAILTO"])
def test_a_mail_is_sent(app, clock, scheme):
    lines: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as file:
            file.write(b"220 here\r\n")
            file.flush()
            in_body = False
            for line in file:
                text = line.decode().rstrip("\r\n")
                lines.append(text)
                if in_body and text != ".":
                    continue
                word = text[:4].upper()
                in_body = word == "DATA"
                file.write(b"354 go\r\n" if in_body else b"221 bye\r\n" if word == "QUIT" else b"250 well\r\n")
                file.flush()
                if word == "QUIT":
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    app.conf.alert_smtp = f"smtp://127.0.0.1:{server.getsockname()[1]}"
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    app.conf.alert_from = "queue@example.com"
    look(app, f"{scheme}:ops@example.com")
    thread.join(60)
    server.close()
    assert "To: ops@example.com" in lines
    assert "text: the head of queue 'mail' has waited for 5 min 1 s (1 wait)" in lines


def test_two_watches_at_once_tell_once(app, clock, receiver):
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(301)
    watches = [Watch(app, [Target.of(receiver.url)]) for _ in range(2)]
    for watch in watches:
        watch.look()
    for watch in watches:
        watch.finish()
    assert len(told(receiver)) == len(set(told(receiver)))


def test_one_look_tells_whether_the_targets_took_it(app, clock):
    """Cron sees nothing else of it than the exit code."""
    app.tasks["shop.mail"].apply_async((1,), queue="mail")
    clock.advance(400)
    assert Watch(app, [Target.of("cat")]).once()
    assert not Watch(app, [Target.of("exit 3")]).once()
    assert Watch(app, [Target.of("exit 3")]).once(), "it is not told again so soon"


@pytest.mark.parametrize("by_turns", [False, True])
def test_of_many_some_are_told_at_once_and_all_in_the_end(app, clock, monkeypatch, eventually, by_turns):
    monkeypatch.setattr("liteq.alerts.watch.AT_ONCE", 2)
    said, at_once, tell = [], [], Watch._tell

    def counted(self, target, one):
        tell(self, target, one)
        at_once.append(len(self._tellings))
        said.append((target.address, one.key))

    monkeypatch.setattr(Watch, "_tell", counted)
    for n in range(5):
        app.tasks["shop.mail"].apply_async((1,), queue=f"mail{n}")
    clock.advance(400)
    targets = ("cat", "cat >&2")
    watch = Watch(app, [Target.of(one) for one in targets])
    wanted = {(target, f"head_wait mail{n}") for target in targets for n in range(5)}
    if by_turns:
        eventually(lambda: watch.turn() or (wanted <= {*said} and not watch.tells))
    else:
        assert watch.once()
    assert wanted <= {*said}
    assert len({*said}) == len(said)
    assert max(at_once) == 2


def test_a_target_that_does_not_answer_keeps_no_other_waiting(app, clock, monkeypatch, eventually):
    monkeypatch.setattr("liteq.alerts.watch.AT_ONCE", 2)
    said, tell = [], Watch._tell

    def counted(self, target, one):
        tell(self, target, one)
        said.append(target.address)

    monkeypatch.setattr(Watch, "_tell", counted)
    for n in range(3):
        app.tasks["shop.mail"].apply_async((1,), queue=f"mail{n}")
    clock.advance(400)
    watch = Watch(app, [Target.of("exec sleep 60"), Target.of("cat")])
    eventually(lambda: watch.turn() or said.count("cat") == 3)
    assert said.count("exec sleep 60") == 1
    watch.finish(within_s=0)


def test_one_look_tells_all_though_another_target_refuses(app, clock, monkeypatch):
    monkeypatch.setattr("liteq.alerts.watch.AT_ONCE", 2)
    for n in range(3):
        app.tasks["shop.mail"].apply_async((1,), queue=f"mail{n}")
    clock.advance(400)
    fine = Target.of("cat")
    assert not Watch(app, [Target.of("exit 3"), fine]).once()
    heads = [one for one in app.storage.alerts.standing(fine.digest) if one.key.startswith("head_wait")]
    assert [one.told for one in heads] == [1] * 3


@pytest.mark.parametrize("address", ["", "mailto:nobody", "MAILTO:nobody", "ftp://there/is", "htps://there.example"])
def test_a_target_that_is_none_is_refused(address):
    with pytest.raises(ImproperlyConfigured):
        Target.of(address)


# -- the worker and the command --------------------------------------------------------------------------------------


def test_a_worker_tells_by_its_settings(tmp_path, receiver, eventually):
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False, alert_to=[receiver.url],
        alert_every=0.2, alert_dead_letters=1,
    )  # fmt: skip

    @app.task(name="shop.bad")
    def bad() -> None:
        raise ValueError("no")

    with start_worker(app):
        bad.delay()
        eventually(lambda: ("alert", "dead_letters", "") in told(receiver))
        app.storage.dead.drop(app.storage.dead.matching())
        eventually(lambda: ("well", "dead_letters", "") in told(receiver))
    app.close()


def test_a_worker_that_ends_leaves_no_process_behind(tmp_path, eventually):
    pid = tmp_path / "pid"
    app = LiteQ(
        "shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False, alert_to=[f"echo $$ > {pid}; exec sleep 60"],
        alert_every=0.2, alert_dead_letters=1,
    )  # fmt: skip

    @app.task(name="shop.bad")
    def bad() -> None:
        raise ValueError("no")

    with start_worker(app):
        bad.delay()
        eventually(lambda: pid.exists() and pid.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    app.close()


def liteq(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "liteq", *words], cwd=cwd, capture_output=True, text=True, timeout=60)


def test_the_command_looks_once_and_tells(tmp_path, app, receiver):
    url = f"sqlite:///{tmp_path}/q.db"
    LiteQ("shop", broker=url, set_as_current=False).send_task("shop.mail", (1,), queue="mail")
    shown = liteq("-b", url, "alert", cwd=tmp_path)
    assert shown.returncode == 1
    assert "no_worker" in shown.stdout
    tested = liteq("-b", url, "alert", "--to", receiver.url, "--test", cwd=tmp_path)
    assert tested.returncode == 0
    assert told(receiver) == [("alert", "test", "")]


def test_a_test_of_a_target_that_is_away_fails_and_says_why(tmp_path, app, receiver):
    url = f"sqlite:///{tmp_path}/q.db"
    tested = liteq("-b", url, "alert", "--to", "http://127.0.0.1:1/", "--test", cwd=tmp_path)
    assert tested.returncode == 1
    assert "Connection refused" in tested.stderr
