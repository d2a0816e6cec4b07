"""Loops of flows: questions that are told apart, and the time at which a step of many items has ended."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from liteq_flow.report import text_of_report

from .running import Flows, statuses


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


def test_a_step_of_many_items_ends_with_the_last_of_them(shared: Flows):
    """So the timeout of what comes after it begins then: here the second step of `after` had no time left."""
    document = shared.run(
        """
        steps:
          - id: all
            action: dag.run
            with: {dag: slow}
            parallel: [{PAUSE: "1.5"}, {PAUSE: "0"}]
          - id: commands
            run: sleep ${ITEM}
            parallel: ["0.5", "0"]
          - id: after
            depends: [all]
            timeout_sec: 1.2
            action: dag.run
            with: {dag: quick}
        ---
        name: slow
        params: {PAUSE: "0"}
        steps: [{run: "sleep ${params.PAUSE}"}]
        ---
        name: quick
        type: chain
        steps: [{run: "true"}, {run: "true"}]
        """,
        "items",
    )
    assert set(statuses(document).values()) == {"succeeded"}, document["error"]
    by_id = {one["id"]: one for one in document["steps"]}
    assert by_id["all"]["finished"] >= by_id["all[0]/step_1"]["finished"]
    assert by_id["after"]["started"] >= by_id["all"]["finished"]
    began, ended = (datetime.fromisoformat(by_id["commands"][word]) for word in ("started", "finished"))
    assert ended - began >= timedelta(seconds=0.5)


def test_the_command_for_a_question_can_be_pasted():
    """A key may have a space, and brackets are a pattern of files to a shell."""
    waiting = [{"step": "each[a b]/close", "prompt": "Close it?", "form": None}]
    document = {"id": "n-1", "name": "n", "status": "waiting", "steps": [], "waiting": waiting}
    assert "liteq workflow approve n-1 'each[a b]/close' --yes" in text_of_report(document)[-1]


def test_a_step_may_be_called_as_another_attempt_or_an_inner_step_is_kept(shared: Flows):
    """Each has a place of its own in the history; the run was stuck, because its code had "changed"."""
    document = shared.run(
        """
        steps:
          - {name: a, run: exit 1, retry_policy: 1, continue_on: failed}
          - {name: "a#2", run: echo two, output: TWO}
          - {name: c, action: dag.run, with: {dag: kid}, output: KID}
          - {name: "c/x", run: echo outer, output: OUTER}
        ---
        name: kid
        steps: [{name: x, run: echo inner, output: INNER}]
        """,
        "alike",
    )
    assert (document["status"], document["error"]) == ("succeeded", None)
    assert document["outputs"] == {"TWO": "two", "KID": '{"INNER": "inner"}', "OUTER": "outer"}
    assert sorted(one["id"] for one in document["steps"]) == ["a", "a#2", "c", "c/x", "c/x"]


def test_the_key_of_an_item_may_be_long(shared: Flows):
    key = "https://example.com/" + "x" * 400
    document = shared.run(
        f"""
        steps:
          - id: each
            foreach:
              items: ["{key}"]
              key: ${{foreach.item}}
              steps: [{{id: get, run: echo got}}]
        """,
        "long",
    )
    assert statuses(document) == {"each": "succeeded", f"each[{key}]/get": "succeeded"}


def test_the_key_of_an_item_that_is_a_path_stays_as_it_is(shared: Flows):
    """A run that began before names were spelled in paths would run the command once more."""
    document = shared.run(
        """
        steps:
          - id: each
            foreach: {items: [in/a.csv, "in]/get"], key: "${foreach.item}", steps: [{id: get, run: echo got}]}
        """,
        "paths",
    )
    keys = [one.key for one in shared.app.Run(document["id"]).steps() if one.kind == "spawn"]
    assert sorted(keys) == ["each[in%5D/get]/get", "each[in/a.csv]/get"]
    assert statuses(document) == {
        "each": "succeeded", "each[in/a.csv]/get": "succeeded", "each[in]/get]/get": "succeeded",
    }  # fmt: skip


def test_variables_of_a_step_stand_for_its_items(shared: Flows):
    document = shared.run(
        """
        steps:
          - id: each
            run: echo "$WHO"
            env: {GREETING: hi, WHO: "$GREETING ${ITEM}"}
            parallel: [ann, bob]
            preconditions: test "$GREETING" = hi
            output: SAID
        """,
        "variables",
    )
    assert document["status"] == "succeeded", document["error"]
    assert [one["SAID"] for one in json.loads(document["outputs"]["SAID"])["outputs"]] == ["hi ann", "hi bob"]


def test_the_slashes_in_the_keys_of_items_make_a_flow_no_deeper(shared: Flows):
    text = """
        steps:
          - id: each
            foreach:
              items: [ITEM]
              key: ${foreach.item}
              steps:
                - {id: call, action: dag.run, with: {dag: inner}}
        ---
        name: inner
        steps: [{id: told, run: echo}]
    """
    document = shared.run(text.replace("ITEM", "/".join("abcdefghijklmnopqrstuvwxyz")), "paths")
    assert document["status"] == "succeeded"
