"""Unique calls under kills: one message at a time, none lost, no lock left."""

from __future__ import annotations

import sys
import time

import pytest

from liteq.states import UNFINISHED, State, sql_list

from .harness import wait_for
from .limits_crew import Crew, NewCrew
from .sizes import size

SECONDS = size("UNIQUE_SECONDS", 3, 60)
FAULTS = 8  # at least
SENDERS = 8
PAGES = 2

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by Linux's /proc"),
]


def test_of_equal_unique_calls_there_is_one_message_at_a_time(crew_of: NewCrew) -> None:
    crew = crew_of(3, 2)
    senders = [crew.script("unique_sender.py", str(n), str(PAGES)) for n in range(SENDERS)]
    twice = (
        f"SELECT unique_key FROM liteq_messages WHERE unique_key IS NOT NULL AND state IN {sql_list(UNFINISHED)} "
        "GROUP BY unique_key HAVING count(*) > 1"
    )
    crew.let_pass(1)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(crew.done) < FAULTS:
        crew.let_pass(crew.rng.randrange(8))
        crew.befall()
        assert crew.ask(twice) == []
    (crew.drill.folder / "enough").touch()
    wait_for(lambda: all(sender.poll() is not None for sender in senders), within_s=60)
    crew.settle()
    assert [sender.poll() for sender in senders] == [0] * SENDERS
    answers = answers_of(crew)
    own = [(page, id_) for page, id_, duplicate in answers if not duplicate]
    assert len(own) > 10
    assert len(answers) > 2 * len(own), "most calls found one there"
    assert len(set(own)) == len(own), "an id is new once"
    assert {(page, id_) for page, id_, _ in answers} == set(own), "a duplicate is a message that somebody sent"
    assert set(crew.states([id_ for _, id_ in own]).values()) == {State.SUCCEEDED}, "none is lost"
    assert crew.ledger.greatest() == {f"page:page-{n}": 1 for n in range(PAGES)}
    assert crew.ask("SELECT * FROM liteq_unique") == []
    results = [crew.module.refresh.delay(f"page-{n}") for n in range(PAGES)]
    assert [result.duplicate for result in results] == [False] * PAGES, "no lock is left"
    crew.settle()


def answers_of(crew: Crew) -> list[tuple[str, str, bool]]:
    text = "".join(path.read_text() for path in crew.drill.folder.glob("sender-*") if path.suffix != ".err")
    return [(page, id_, said == "1") for page, id_, said in map(str.split, text.splitlines())]
