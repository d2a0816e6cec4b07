"""Listeners that are kept between waits, and a process that was forked."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import Mock

import pytest

from liteq.storage.listeners import IdleListeners


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
