"""Fifteen flows do what they say; each again with its worker's process killed once inside every command."""

from __future__ import annotations

import pytest

from .running import Flows, statuses
from .shapes import SHAPES, Shape

pytestmark = pytest.mark.timeout(240)  # processes that are started, and killed, on a loaded machine


def _ended(flows: Flows, shape: Shape, name: str) -> dict[str, object]:
    """The report of a shape's end; its people answer."""
    file = flows.write(shape.text, name)
    run_id = flows.start(file, **shape.params)
    document = flows.rest(run_id)
    for step, data in shape.answers.items():
        assert [one["step"] for one in document["waiting"]] == [step]
        assert flows.app.Run(run_id).approve(step, by="ann", data=data)
        document = flows.rest(run_id)
    return document


def _check(document: dict[str, object], shape: Shape) -> None:
    assert document["status"] == shape.status, document
    found = statuses(document)
    assert {id_: status for id_, status in found.items() if status != "succeeded"} == dict(shape.ends)
    outputs = document["outputs"]
    if callable(shape.outputs):
        assert shape.outputs(outputs), outputs
    else:
        assert {name: outputs[name] for name in shape.outputs} == dict(shape.outputs)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_flow_does_what_it_says_also_where_each_command_is_killed_once(shared: Flows, shape: Shape):
    shared.forget()
    _check(_ended(shared, shape, shape.name), shape)
    begun = shared.ledger()
    shared.forget()
    shared.kill_in(set(begun))

    _check(_ended(shared, shape, f"{shape.name}_killed"), shape)

    assert shared.ledger() == {step: n + 1 for step, n in begun.items()}, "each was repeated for its kill alone"
