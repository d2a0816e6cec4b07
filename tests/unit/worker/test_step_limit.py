"""StepTimeout is raised inside a step, and never inside what its checkpoint or its context is doing."""

from __future__ import annotations

import sys
import time
from types import ModuleType

import pytest

from liteq.exceptions import StepTimeout
from liteq.worker.pool.limits import StepLimit, hold_back_in

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no timer signal")


def module_with(name: str, source: str) -> ModuleType:
    """A module of that name, as if it were a part of liteq."""
    module = ModuleType(name)
    exec(source, module.__dict__)
    return module


ENGINE = """
def call(limit, step):
    with limit:
        return step()

def write(until, notes):
    while not until():
        pass
    notes.append("whole")
"""


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.fixture
def engine() -> ModuleType:
    hold_back_in("liteq.workflow")
    return module_with("liteq.workflow.invented", ENGINE)


def test_a_step_is_interrupted_though_the_engine_calls_it(engine: ModuleType) -> None:
    with pytest.raises(StepTimeout, match=r"longer than its timeout of 0\.02 s"):
        engine.call(StepLimit(0.02), lambda: spin(30))


def test_a_step_in_time_is_left_alone(engine: ModuleType) -> None:
    assert engine.call(StepLimit(0.5), lambda: 42) == 42
    spin(0.6)


@pytest.mark.parametrize("name", ["liteq.workflow.context", "liteq.storage.runs"])
def test_what_it_writes_is_written_whole_before_it_is_interrupted(engine: ModuleType, name: str) -> None:
    inside = module_with(name, ENGINE)
    notes: list[str] = []
    end = time.monotonic() + 0.1

    def step() -> None:
        inside.write(lambda: time.monotonic() > end, notes)
        spin(30)

    with pytest.raises(StepTimeout):
        engine.call(StepLimit(0.02), step)
    assert notes == ["whole"]
