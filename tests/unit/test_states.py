"""The state machine's table, and Celery's names for its states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from liteq import states
from liteq.states import ALL_STATES, FINISHED, LEGAL, READY_STATES, UNFINISHED, State, celery_state, sql_list


def test_the_table_knows_every_state():
    assert LEGAL.keys() == set(State)
    assert FINISHED | UNFINISHED == set(State)
    assert not FINISHED & UNFINISHED


def test_every_state_can_be_finished_from():
    for start in State:
        seen, todo = set(), [start]
        while todo:
            state = todo.pop()
            if state not in seen:
                seen.add(state)
                todo += LEGAL[state]
        assert seen & FINISHED, start


def test_an_end_is_an_end_unless_it_is_replayed():
    assert LEGAL[State.SUCCEEDED] == LEGAL[State.CANCELLED] == frozenset()
    assert LEGAL[State.DEAD] == {State.PENDING}


def test_a_list_for_sql_is_in_the_order_of_the_states():
    assert sql_list({State.PENDING, State.SCHEDULED}) == "('scheduled', 'pending')"
    assert sql_list(UNFINISHED) == "('scheduled', 'blocked', 'pending', 'held', 'leased')"


def test_the_sql_of_the_verbs_has_no_list_of_states_of_its_own():
    by_hand = re.compile(rf"IN \('({'|'.join(State)})'")
    sources = (Path(states.__file__).parent / "storage").rglob("*.py")
    assert [path.name for path in sources if by_hand.search(path.read_text())] == []


def test_only_a_lease_succeeds_of_itself():
    assert {state for state in State if State.SUCCEEDED in LEGAL[state]} == {State.LEASED, State.BLOCKED}


@pytest.mark.parametrize(
    ("state", "facts", "name"),
    [
        (State.SUCCEEDED, {}, "SUCCESS"),
        (State.DEAD, {}, "FAILURE"),
        (State.UPSTREAM_FAILED, {}, "FAILURE"),
        (State.CANCELLED, {}, "REVOKED"),
        (State.LEASED, {"started": True}, "STARTED"),
        (State.LEASED, {}, "PENDING"),
        (State.SCHEDULED, {}, "PENDING"),
        (State.SCHEDULED, {"retries": 1}, "RETRY"),
        (State.PENDING, {"retries": 1}, "RETRY"),
        (State.BLOCKED, {}, "PENDING"),
    ],
)
def test_celerys_name(state, facts, name):
    assert celery_state(state, **facts) == name


@pytest.mark.parametrize("state", State)
def test_what_is_finished_is_ready_and_the_other_way_round(state):
    assert celery_state(state) in ALL_STATES
    assert (celery_state(state) in READY_STATES) is (state in FINISHED)


def test_names_are_compared_by_what_they_say():
    named = ["PENDING", "RETRY", "REJECTED", "RECEIVED", "STARTED", "REVOKED", "of my own", "FAILURE", "SUCCESS"]
    ordered = [states.state(name) for name in named]
    backwards = ordered[::-1]
    assert sorted(backwards) == ordered
    assert states.state("PENDING") <= states.state("PENDING") < states.state("mine") <= states.state("SUCCESS")
    assert states.state("SUCCESS") >= states.state("FAILURE") > states.state("yours")
