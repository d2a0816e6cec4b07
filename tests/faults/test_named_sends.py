"""A large send under a name, killed again and again: each element is there once."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from liteq.serialization import decode

from .limits_crew import NewCrew
from .sizes import size

KILLS = size("SEND_MANY_KILLS", 8, 200)
ELEMENTS = size("SEND_MANY_ELEMENTS", 1_000, 10_000)
CHUNK = 5

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="kills process groups as Linux has them"),
]


def test_each_element_of_a_named_send_is_there_once_although_it_is_killed_again_and_again(crew_of: NewCrew) -> None:
    crew = crew_of(0)
    sender = crew.script("many_sender.py", str(ELEMENTS), str(CHUNK), str(KILLS))
    assert sender.wait(timeout=600) == 0, crew.drill.log("sender-1")
    numbers = Counter(decode(payload)[0][0] for (payload,) in crew.ask("SELECT payload FROM liteq_messages"))
    assert numbers.keys() == set(range(ELEMENTS))
    assert set(numbers.values()) == {1}
    count, skipped = map(int, (crew.drill.folder / "sender-1").read_text().split())
    assert count + skipped == ELEMENTS
    assert skipped > KILLS, "the others have sent something"
