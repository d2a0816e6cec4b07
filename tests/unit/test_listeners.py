"""Listeners that are kept between waits, and a process that was forked."""

from __future__ import annotations

import os
import time
from typing import Any
from unittest.mock import Mock

import pytest

from liteq.storage.listeners import LONGEST_REST_S, IdleListeners


def test_a_forked_process_opens_its_own_and_closes_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def listen(_bell: object) -> Any:
        made.append(Mock())
        return made[-1]

    listeners = IdleListeners(Mock(listen=listen))
    for _ in range(2):
        with listeners.hearing():
            assert len(made) == 1  # kept between the two
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    with listeners.hearing():
        copy, own = made
    copy.close.assert_called_once_with()
    own.close.assert_not_called()


def test_a_waiter_rests_after_a_ring_that_was_not_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept, rings = [100.0], [], iter([True, True, True, False, True])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(round(seconds, 6)))
    waited: list[float] = []

    def wait(timeout_s: float) -> bool:
        waited.append(round(timeout_s, 6))
        return next(rings)

    with IdleListeners(Mock(listen=lambda _bell: Mock(wait=wait))).hearing() as listener:
        for look_s in (0.0, 0.0002, 1.0, 0.0, 0.0):
            now[0] += look_s
            listener.wait(2.0)
    # Not before the first ring, four times the look after one, no longer than a moment, and not after a time without.
    assert slept == [0.0008, LONGEST_REST_S, 0.0]
    assert waited == [2.0, 1.9992, 2.0 - LONGEST_REST_S, 2.0, 2.0]
