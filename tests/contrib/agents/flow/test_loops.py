"""Loops of flows: questions that are told apart."""

from __future__ import annotations

from .running import Flows


def test_questions_of_items_are_told_apart_whatever_their_keys_hold(shared: Flows):
    """Each is decided by its own title, so nobody approves another item than the one that was read."""
    document = shared.run(
        """
        steps:
          - id: each
            foreach:
              items: ["issue#1", "issue#2"]
              key: ${foreach.item}
              steps:
                - {id: close, action: human.task, with: {prompt: "Close ${foreach.item}?"}}
        """,
        "issues",
    )
    asked = [(one["step"], one["prompt"]) for one in document["waiting"]]
    assert asked == [(f"each[{key}]/close", f"Close {key}?") for key in ("issue#1", "issue#2")]
    run = shared.app.Run(document["id"])
    for title, _ in asked:
        assert run.approve(title, by="ann")
    assert shared.rest(document["id"])["status"] == "succeeded"
