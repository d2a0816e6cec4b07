"""A retry of a run that has failed: it goes on at the step that failed, whatever the body did because of that."""

from __future__ import annotations

import pytest

from liteq.workflow import ctx

from .declining import of, retried, retry_well


def test_the_clean_up_behind_the_failed_step_is_forgotten_with_it(app, worker, did):
    def body(charge, notify):
        notify("begin")
        try:
            charge(1)
        except ConnectionError:
            notify("sorry")
            raise
        return notify("end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]


def test_a_failure_that_the_body_wraps_is_that_of_its_step(app, worker, did):
    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError as exc:
            notify("sorry")
            raise ValueError("no order") from exc
        return notify("end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]


@pytest.mark.parametrize("named", ["of a class that nobody can find", "that tells less when it is read"])
def test_a_failure_is_known_again_in_that_of_the_run(app, worker, did, named, tmp_path):
    class Declined(Exception):
        pass

    @app.step(name="pay")
    def pay() -> str:
        did.append("pay")
        if did.well:
            return "paid"
        raise Declined("no") if "class" in named else FileNotFoundError(2, "No such file", str(tmp_path))

    def body(charge, notify):
        try:
            return pay()
        except Exception:
            notify("sorry")
            raise

    run = retried(app, worker, did, body)
    assert run.result(0) == "paid"
    assert did == ["pay"]


def test_a_failure_that_the_body_has_dealt_with_is_kept(app, worker, did):
    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError:
            notify("by invoice")
        if not did.well:
            raise ValueError("a bug")
        return notify("end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["end"]


@pytest.mark.parametrize("way", ["call", "map", "spawn"])
def test_what_was_sent_and_has_failed_is_sent_again_and_the_rest_is_kept(app, worker, did, way):
    def body(charge, notify):
        handles = [ctx.spawn(notify, "beside"), ctx.spawn(charge, 1)] if way == "spawn" else []
        notify("meanwhile")
        try:
            match way:
                case "call":
                    ctx.call(charge, 1)
                case "map":
                    ctx.map(charge, [1])
                case "spawn":
                    ctx.gather(handles)
        except ConnectionError:
            notify("sorry")
            ctx.map(notify, ["both", "of us"])
            raise
        return notify("end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 1", "end"]


def test_an_event_that_the_clean_up_has_taken_comes_again(app, worker, did):
    def body(charge, notify):
        try:
            charge(1)
        except ConnectionError:
            ctx.wait_event("seen")
            raise
        return ctx.wait_event("seen")

    run = of(app, body).start()
    run.send("seen", "by bob")
    worker.run()
    assert run.status == "failed"
    did.well = True
    assert run.retry()
    worker.run()
    assert run.result(0) == "by bob"


def test_what_has_succeeded_behind_a_gathered_failure_is_not_repeated(app, worker, did):
    def body(charge, notify):
        failures, bad = [], () if did.well else (2,)
        for n in (1, 2, 3, 4):
            did.well = n not in bad
            try:
                charge(n)
            except ConnectionError as exc:
                failures.append(exc)
        if failures:
            raise failures[0]
        return notify("end")

    run = retried(app, worker, did, body)
    assert run.result(0) == "end"
    assert did == ["charge 2", "end"]


def test_the_last_of_several_failures_alone_is_made_again(app, worker, did):
    def body(charge, notify):
        for n in (1, 2):
            try:
                charge(n)
            except ConnectionError:
                notify(f"not by {n}")
        return charge(3)

    run = retried(app, worker, did, body)
    assert run.result(0) == 3
    assert did == ["charge 3"]


def test_a_run_whose_unique_key_another_one_has_keeps_its_history(app, worker, did):
    charge, notify = app.steps_of_workflows["charge"], app.steps_of_workflows["notify"]

    @app.workflow(name="flow", unique=True)
    def flow() -> str:
        try:
            charge(1)
        except ConnectionError:
            notify("sorry")
            raise
        return "end"

    run = flow.start()
    worker.run()
    other = flow.start()
    assert not run.retry()
    assert [step.name for step in run.steps()] == ["charge", "notify"]
    other.cancel()
    retry_well(run, worker, did)
    assert run.result(0) == "end"
    assert did == ["charge 1"]


def test_what_was_decided_before_a_call_that_is_answered_is_kept_when_a_cancel_stops_it(app, worker, did):
    seen: list[bool] = []

    @app.step(name="pay")
    def pay() -> None:
        if not did.well:
            raise ConnectionError("declined")
        app.Run("flow").cancel("enough")

    @app.step(name="later", retries=1, backoff=5)
    def later() -> None:
        if len(seen) == 1:
            raise ConnectionError("again")

    def body(charge, notify):
        try:
            pay()
        except ConnectionError:
            notify("sorry")
            raise
        seen.append(ctx.patched("new"))
        try:
            notify("sorry")
        finally:
            with ctx.shield():
                later()

    run = of(app, body).options(id="flow").start()
    worker.run()
    did.well = True
    assert run.retry()
    worker.run()
    app.clock.advance(5)
    worker.run()
    assert run.status == "cancelled"
    assert seen == [True, True]


@pytest.mark.parametrize("way", ["step", "call"])
def test_a_step_of_the_clean_up_that_has_failed_itself_is_made_again(app, worker, did, way):
    @app.step(name="mail")
    def mail(to: str) -> str:
        did.append(f"mail {to}")
        if not did.well:
            raise OSError("no server")
        return to

    def body(charge, notify):
        tell = mail if way == "step" else lambda to: ctx.call(mail, to)
        try:
            charge(1)
        except ConnectionError:
            notify("sorry")
            try:
                tell("bob")
            except OSError:
                pass
            raise
        return tell("bob")

    run = retried(app, worker, did, body)
    assert run.result(0) == "bob"
    assert did == ["charge 1", "mail bob"]
