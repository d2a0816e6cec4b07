"""One clock for all machines: the server's, whatever the machine's own says."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from liteq import LiteQ
from liteq.clock import SystemClock
from liteq.testing import FakeClock
from liteq_postgres import clock as clocks
from liteq_postgres.clock import READ_EACH_S, ServerClock

HOUR_MS = 3_600_000
SERVER_MS = 1_800_000_000_000


class Machine(SystemClock):
    """The machine's wall clock, which is wrong and may be set, and the seconds since its boot."""

    wall_ms = SERVER_MS - 5_000
    up_s = 100.0

    def now_ms(self) -> int:
        return self.wall_ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(clocks, "_boottime", lambda: found.up_s)
    return found


def server(machine: Machine, *, ahead_ms: float = SERVER_MS - 100_000, going_s: float = 0, coming_s: float = 0):
    """Ask a server whose time is `ahead_ms` ahead of the machine's boot."""

    def ask() -> float:
        machine.up_s += going_s
        told = machine.up_s * 1000 + ahead_ms
        machine.up_s += coming_s
        return told

    return ask


def test_the_servers_time_counts(machine: Machine) -> None:
    clock = ServerClock(machine, lambda: clock.learn(server(machine)))
    assert clock.now_ms() == SERVER_MS
    machine.up_s += 7
    assert clock.now_ms() == SERVER_MS + 7_000


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, HOUR_MS])
def test_a_machines_clock_that_is_set_changes_nothing(machine: Machine, jump_ms: int) -> None:
    clock = ServerClock(machine, lambda: clock.learn(server(machine)))
    before = clock.now_ms()
    machine.wall_ms += jump_ms
    assert clock.now_ms() == before


def test_it_is_read_again_from_time_to_time(machine: Machine) -> None:
    clock = ServerClock(machine, lambda: None)
    assert clock.is_due
    clock.learn(server(machine))
    assert not clock.is_due
    machine.up_s += READ_EACH_S
    assert clock.is_due
    clock.learn(server(machine, ahead_ms=SERVER_MS - 100_000 + HOUR_MS))  # another server has taken over
    assert clock.now_ms() == SERVER_MS + READ_EACH_S * 1000 + HOUR_MS


@pytest.mark.parametrize(("going_s", "coming_s"), [(8, 0), (0, 8), (3, 5)])
def test_a_slow_answer_moves_nothing(machine: Machine, going_s: float, coming_s: float) -> None:
    clock = ServerClock(machine, lambda: None)
    clock.learn(server(machine))
    clock.learn(server(machine, going_s=going_s, coming_s=coming_s))
    assert clock.now_ms() == SERVER_MS + 8_000


def test_a_server_that_does_not_answer_leaves_the_machines(machine: Machine) -> None:
    answers: list[Callable[[], float]] = []
    clock = ServerClock(machine, lambda: [clock.learn(answer) for answer in answers])
    assert clock.now_ms() == machine.wall_ms
    answers.append(server(machine))
    assert clock.now_ms() == SERVER_MS


@pytest.mark.parametrize(("off_ms", "way"), [(-5_000, "5.0 s behind"), (1_500, "1.5 s ahead of")])
def test_a_machine_that_is_off_is_told_once(
    machine: Machine, caplog: pytest.LogCaptureFixture, off_ms: int, way: str
) -> None:
    clock = ServerClock(machine, lambda: None)
    machine.wall_ms = SERVER_MS + off_ms
    for _ in range(3):
        clock.learn(server(machine))
    (record,) = caplog.records
    assert way in record.getMessage()


def test_less_than_a_second_is_not_told(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.wall_ms = SERVER_MS + 900
    ServerClock(machine, lambda: None).learn(server(machine))
    assert not caplog.records


def test_a_process_that_is_started_afresh_takes_it_along(machine: Machine) -> None:
    clock = ServerClock(machine, lambda: None)
    clock.learn(server(machine))
    there = pickle.loads(pickle.dumps(clock))
    assert there.now_ms() == SERVER_MS
    assert there.is_due


def test_a_clock_of_a_test_is_the_servers_too() -> None:
    fake = FakeClock()
    clock = ServerClock(fake, lambda: pytest.fail("asked"))
    fake.advance(0.007)
    assert clock.now_ms() == fake.now_ms()
    assert not clock.is_due


def test_the_apps_clock_is_the_machines_over_a_file() -> None:
    assert isinstance(LiteQ("t", broker="sqlite:///q.db", set_as_current=False).clock, SystemClock)
