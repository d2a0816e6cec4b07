"""The queue against its model: by seeds, and by hypothesis, which shrinks what it finds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from .simulate import Simulation
from .sizes import size

STEPS = size("SIMULATED_STEPS", 12_000, 1_000_000)
EXAMPLES = size("MODEL_EXAMPLES", 10, 400)
RUN = 25_000  # steps of one file at most

# A seed that once found something stays here, with what it found.
REGRESSIONS: dict[int, str] = {}

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("seed", [1, 2, *REGRESSIONS])
def test_the_file_and_the_model_never_diverge(tmp_path: Path, seed: int) -> None:
    left = STEPS // 2
    while left > 0:
        simulation = Simulation(tmp_path, seed)
        try:
            simulation.run(min(left, RUN))
        finally:
            simulation.close()
        assert simulation.settled > 0
        left -= RUN
        seed += 1_000


def test_a_late_reaper_of_a_dead_worker_leaves_the_next_worker_alone(tmp_path: Path) -> None:
    """Two workers see that a third is dead; one reaps it, a fourth comes up, and then the other reaps it too."""
    simulation = Simulation(tmp_path, 0, workers=1, faults=False)
    storage = simulation.storage
    (dead,) = simulation.workers
    storage.reap([dead.number])
    fresh = simulation._new_worker()
    storage.enqueue(simulation._single())
    storage.reap([dead.number])
    assert fresh.number != dead.number
    assert [worker.id for worker in storage.reader.workers()] == [fresh.number]
    simulation.close()


class QueueMachine(RuleBasedStateMachine):
    """The verbs in an order that hypothesis chooses; what is sent and how it ends comes from a seed it chooses too."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.simulation = Simulation(Path(self.folder.name), 0, workers=2)

    @rule(seed=st.integers(0, 2**16), verb=st.sampled_from(sorted(v.__name__ for v in Simulation._verbs)))
    def do(self, seed: int, verb: str) -> None:
        self.simulation.rng.seed(seed)
        getattr(self.simulation, verb)()

    @invariant()
    def the_file_is_as_the_model_says(self) -> None:
        self.simulation.compare()

    def teardown(self) -> None:
        try:
            self.simulation.drain()
        finally:
            self.simulation.close()
            self.folder.cleanup()


TestQueueMachine: Any = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
