"""Signals: who is called, who no longer is, and that a receiver can do no harm."""

from __future__ import annotations

import gc
import threading

import pytest

from liteq import signals
from liteq.signals import Signal


@pytest.fixture
def signal():
    return Signal("happened", "value")


def test_celerys_31_signals_are_there():
    ours = {"workflow_stuck", "workflow_failed", "approval_requested", "step_in_doubt"}
    names = [name for name in signals.__all__ if name != "Signal"]
    assert len(set(names) - ours) == 31
    assert all(getattr(signals, name).name == name for name in names)


def test_a_receiver_is_called_with_signal_sender_and_the_rest(signal):
    @signal.connect
    def receiver(sender, **kwargs):
        return sender, kwargs

    assert signal.send("me", value=1) == [(receiver, ("me", {"signal": signal, "value": 1}))]
    assert signal.send_robust("me", value=1) == signal.send("me", value=1)


def test_the_decorator_takes_options(signal):
    sender = object()

    @signal.connect(sender=sender, weak=False)
    def receiver(**kwargs):
        return "called"

    assert [r for _, r in signal.send(sender)] == ["called"]
    assert signal.send(object()) == []
    assert signal.has_listeners(sender)
    assert not signal.has_listeners(object())


def test_a_sender_that_is_text_is_compared_by_value(signal):
    signal.connect(lambda **kwargs: 1, sender="app.add", weak=False)
    assert len(signal.send("app." + "ADD".lower())) == 1


def test_a_sender_is_seen_through_its_proxy(signal):
    class Proxy:
        def __init__(self, target):
            self.target = target

        def _get_current_object(self):
            return self.target

    task = object()
    signal.connect(lambda **kwargs: 1, sender=Proxy(task), weak=False)
    assert len(signal.send(task)) == 1


def test_receivers_is_empty_until_somebody_listens(signal):
    assert not signal.receivers
    assert signal.send() == []

    def receiver(**kwargs): ...

    signal.connect(receiver)
    assert signal.receivers
    assert signal.disconnect(receiver)
    assert not signal.receivers
    assert not signal.disconnect(receiver)


def test_a_receiver_is_held_weakly_unless_told_otherwise(signal):
    def local(**kwargs): ...

    signal.connect(local)
    del local
    gc.collect()
    assert not signal.receivers

    class Listener:
        def hear(self, **kwargs):
            return "heard"

    listener = Listener()
    signal.connect(listener.hear)
    gc.collect()
    assert [r for _, r in signal.send()] == ["heard"]
    del listener
    gc.collect()
    assert not signal.receivers

    signal.connect(lambda **kwargs: "kept", weak=False)
    gc.collect()
    assert [r for _, r in signal.send()] == ["kept"]


def test_methods_of_two_instances_are_two_receivers(signal):
    class Listener:
        def hear(self, **kwargs):
            return self

    first, second = Listener(), Listener()
    signal.connect(first.hear)
    signal.connect(second.hear)
    signal.connect(second.hear)
    assert [r for _, r in signal.send()] == [first, second]


def test_one_dispatch_uid_is_one_connection(signal):
    signal.connect(lambda **kwargs: 1, weak=False, dispatch_uid="once")
    signal.connect(lambda **kwargs: 2, weak=False, dispatch_uid="once")
    assert [r for _, r in signal.send()] == [1]
    assert signal.disconnect(dispatch_uid="once")


def test_what_a_receiver_raises_is_logged_and_the_next_is_called(signal, caplog):
    problem = ValueError("no")

    def bad(**kwargs):
        raise problem

    def good(**kwargs):
        return "fine"

    signal.connect(bad)
    signal.connect(good)
    assert signal.send() == [(bad, problem), (good, "fine")]
    assert "happened raised ValueError" in caplog.text


def test_retry_calls_a_failing_receiver_again(signal):
    calls = []

    def flaky(**kwargs):
        calls.append(1)
        if len(calls) < 3:
            raise OSError
        return "at last"

    signal.connect(flaky, retry=True)
    assert [r for _, r in signal.send()] == ["at last"]


def test_a_receiver_must_take_kwargs(signal):
    with pytest.raises(ValueError, match="must take"):
        signal.connect(lambda sender: 1)


def test_a_receiver_may_disconnect_itself(signal):
    def once(**kwargs):
        signal.disconnect(once)
        return 1

    signal.connect(once)
    assert len(signal.send()) == 1
    assert signal.send() == []


def test_connecting_from_many_threads_loses_nobody(signal):
    receivers = [lambda i=i, **kwargs: i for i in range(100)]
    threads = [
        threading.Thread(target=lambda part: [signal.connect(r) for r in part], args=(receivers[n::4],))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r for _, r in signal.send()) == list(range(100))
