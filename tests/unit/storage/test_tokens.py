"""Fencing tokens of the clock: they only go up, whatever the clock does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.storage.sqlite import tokens
from liteq.storage.storage import Storage, open_storage

HOUR_S = 3600


class Clocks:
    """A wall clock that can be set, and the monotonic one beside it; both go on by a microsecond at each look."""

    def __init__(self) -> None:
        self.wall_ns, self.since_boot_ns = 1_767_225_600 * 10**9, 10**12

    def time_ns(self) -> int:
        self.advance(1e-6)
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.since_boot_ns

    def advance(self, seconds: float) -> None:
        self.set(seconds)
        self.since_boot_ns += int(seconds * 1e9)

    def set(self, seconds: float) -> None:
        self.wall_ns += int(seconds * 1e9)

    def now_us(self) -> int:
        return self.wall_ns // 1000


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(tokens, "time_ns", clocks.time_ns)
    monkeypatch.setattr(tokens, "monotonic_ns", clocks.monotonic_ns)
    return clocks


@pytest.fixture(params=["apsw", "stdlib"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/q.db?driver={request.param}"


class Process:
    """A process that takes tokens, and counts its statements."""

    def __init__(self, url: str) -> None:
        self.storage: Storage = open_storage(url)
        self.storage.migrate()
        self.statements = 0

    def take(self, n: int = 1, above: int = 0) -> int:
        """The last of `n` tokens."""
        with self.storage.driver.write() as tx:
            execute = tx.execute

            def counted(sql: str, params: object = ()) -> object:
                self.statements += 1
                return execute(sql, params)  # type: ignore[arg-type]

            tx.execute = counted  # type: ignore[method-assign, assignment]
            try:
                return tx.tokens(n, above) + n
            finally:
                del tx.execute  # type: ignore[attr-defined]


@pytest.fixture
def processes(url: str) -> Iterator[list[Process]]:
    made = [Process(url) for _ in range(3)]
    yield made
    for process in made:
        process.storage.close()


def test_a_token_is_the_time_in_microseconds(clocks: Clocks, processes: list[Process]) -> None:
    assert abs(processes[0].take() - clocks.now_us()) < 100
    assert processes[0].take() < 2**53


def test_of_the_tokens_of_a_minute_only_the_first_asks_the_file(clocks: Clocks, processes: list[Process]) -> None:
    one = processes[0]
    one.take()
    asked = one.statements
    for _ in range(50):
        clocks.advance(1.0)
        one.take(100)
    assert one.statements == asked
    clocks.advance(30.0)
    one.take()
    assert one.statements > asked


def test_a_turn_that_is_rolled_back_tells_the_file_of_no_tokens_and_the_next_one_does(
    clocks: Clocks, processes: list[Process]
) -> None:
    one, other, _ = processes
    with pytest.raises(KeyError), one.storage.driver.write() as tx:
        tx.tokens(1)
        raise KeyError
    last = one.take()
    clocks.set(-5)
    assert other.take() > last


@pytest.mark.parametrize("back_s", [0.001, 5, 30, 90, HOUR_S])
def test_tokens_go_up_over_all_processes_when_the_clock_is_set_back(
    clocks: Clocks, processes: list[Process], back_s: float
) -> None:
    seen = []
    for n in range(60):
        if n in {20, 25}:
            clocks.set(-back_s)
        clocks.advance(1.0 if n < 40 else 2 * back_s + 60)
        seen.append(processes[n % 3].take(5) - 4)
    assert seen == sorted(set(seen))
    assert abs(seen[-1] - clocks.now_us()) < 1000, "the clock has caught up"


def test_a_clock_that_was_set_ahead_for_a_moment_is_seen_to_come_back(clocks: Clocks, processes: list[Process]) -> None:
    one = processes[0]
    seen = []
    for step_s in (0, 10, -10, 0):
        clocks.set(step_s)
        seen.append(one.take())
    assert seen == sorted(set(seen))


def test_a_process_that_starts_after_the_clock_was_set_back_goes_on_above(
    url: str, clocks: Clocks, processes: list[Process]
) -> None:
    before = processes[0].take()
    clocks.set(-HOUR_S)
    late = Process(url)
    assert late.take() > before
    late.storage.close()


def test_a_token_is_above_the_one_that_its_row_had(clocks: Clocks, processes: list[Process]) -> None:
    ahead = clocks.now_us() + 10**9
    assert processes[0].take(above=ahead) > ahead
    assert processes[0].take() > ahead
    assert processes[1].take() > ahead


def test_a_copy_on_a_machine_whose_clock_is_a_day_behind_goes_on_above(
    url: str, clocks: Clocks, processes: list[Process], tmp_path: Path
) -> None:
    original = processes[0]
    original.take()
    original.storage.backup(tmp_path / "copy.db")
    clocks.advance(12 * HOUR_S)
    highest = original.take()  # of which the copy knows nothing
    clocks.set(-24 * HOUR_S)
    copy = Process(url.replace("q.db", "copy.db"))
    assert highest < copy.take() < 2**53
    copy.storage.close()
