"""JSON for people: whatever a message holds can be written."""

from __future__ import annotations

import json

import pytest

from liteq.utils.json_text import to_json


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1, None, True, 0.5]}, {"a": [1, None, True, 0.5]}),
        (2**63, 2**63),
        (2**70, str(2**70)),
        ([{"n": (-(2**70), 1)}], [{"n": [str(-(2**70)), 1]}]),
        (2**20_000, hex(2**20_000)),
        ({1: "a", 2**70: "b"}, {"1": "a", str(2**70): "b"}),
        ("\ud800", "\\ud800"),
        ({1 + 2j}, "{(1+2j)}"),
    ],
    ids=range(8),
)
def test_what_json_has_no_form_for_is_text(value, written):
    assert json.loads(to_json(value)) == written
    assert json.loads(to_json(value, indent=True)) == written
