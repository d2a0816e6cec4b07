"""`liteq workflow` and `liteq memo`: runs looked at and acted upon, from the command line."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.integration.runs import Killed, Worker

FLOWS = """
from liteq import LiteQ, chain
from liteq.workflow import ctx

app = LiteQ("shop", broker="sqlite:///shop.db")
ran = []

@app.step
def reserve(order: dict) -> str:
    ran.append("reserve")
    return "reserved"

@app.step(memo=True)
def price(n: int) -> int:
    return n * 3

@app.step
def charge(total: int) -> dict:
    ran.append("charge")
    if total == 13:
        raise ValueError("declined")
    return {"total": total}

@app.workflow(sensitive=("card",))
def order(n: int, card: str = "4111") -> dict:
    reserve({"n": n})
    ctx.set("stage", "priced")
    total = price(n)
    if ctx.patched("tagged"):
        ctx.tag("big" if total > 100 else "small")
    if total > 100 and not ctx.approval("Go?", details={"total": total}, default=False, timeout="2d").ok:
        raise ValueError("rejected")
    return charge(13 if n == 13 else total)

@app.task
def add(x: int, y: int) -> int:
    return x + y

@app.workflow
def child(n: int) -> int:
    return price(n)

@app.workflow
def mixed() -> int:
    n = ctx.call(chain(add.s(1, 2), add.s(3)))
    return ctx.call(child, n)

@app.step(doubt="ask")
def pay(n: int) -> int:
    ran.append("pay")
    return n

@app.workflow
def pays(n: int) -> int:
    return pay(n)

@app.workflow
def waits(text: str = "") -> str:
    return text + str(ctx.wait_event("go"))
"""


@pytest.fixture
def shop(liteq, project) -> Callable[..., Any]:
    (project / "shop.py").write_text(FLOWS)
    return lambda *args, **options: liteq("-A", "shop", *args, **options)


@pytest.fixture
def flow(shop) -> Callable[..., Any]:
    """`liteq workflow ...`, on a file that is there."""
    shop("migrate")
    return lambda *args, **options: shop("workflow", *args, **options)


@pytest.fixture
def start(flow) -> Callable[..., None]:
    """Starts runs of `order` by id and n, and of `waits` where n is None; each goes as far as it can."""

    def begin(**runs: int | None) -> None:
        import shop as module

        from liteq.testing import drain

        for id_, n in runs.items():
            made = module.waits if n is None else module.order
            made.options(id=id_, tags=["test"]).start(*(() if n is None else (n,)))
        drain(module.app)

    return begin


@pytest.fixture
def go_on() -> Callable[[], int]:
    def run() -> int:
        import shop as module

        from liteq.testing import drain

        return drain(module.app)

    return run


def rows(done: Any) -> list[list[str]]:
    return [line.split("\t") for line in done.out.splitlines()[1:]]


# -- looking ---------------------------------------------------------------------------------------------------------


def test_runs_are_listed_with_what_they_wait_for(flow, start):
    start(small=1, big=100, other=None)
    assert [row[:3] + row[5:] for row in rows(flow("list"))] == [
        ["other", "shop.waits", "waiting", "event go"],
        ["big", "shop.order", "waiting", "approval Go?"],
        ["small", "shop.order", "succeeded", ""],
    ]
    one = flow("list", "--status", "waiting", "--name", "shop.order", "--json").json
    assert [(run["id"], run["waiting_for"], run["tags"], run["version"]) for run in one] == [
        ("big", ["approval Go?"], ["big", "test"], "1")
    ]
    assert [run["id"] for run in flow("list", "--tag", "small", "-j").json] == ["small"]


def test_a_list_goes_on_where_a_page_ended(flow, start):
    start(a=1, b=1, c=1)
    first = flow("list", "--limit", "2")
    assert [row[0] for row in rows(first)] == ["c", "b"]
    assert "--after b shows the next page" in first.err
    assert [row[0] for row in rows(flow("list", "--limit", "2", "--after", "b"))] == ["a"]


def test_runs_with_a_step_in_doubt(flow, start, go_on):
    """Its process is gone, and a person says what became of it."""
    start(other=None)
    assert "no step is in doubt" in flow("list", "--doubt").err
    import shop as module

    def dies(n: int) -> int:
        raise Killed

    for id_ in ("p1", "p2"):
        module.pays.options(id=id_).start(1)
    pay, module.pay.function = module.pay.function, dies
    worker = Worker(module.app)
    assert all(worker.turn() for _ in range(3)), "p1 is taken again before p2, and asks"
    module.pay.function = pay
    go_on()
    assert [row[0] for row in rows(flow("list", "--doubt"))] == ["p2", "p1"]
    assert [one["id"] for one in flow("list", "--doubt", "--after", "p2", "-j").json] == ["p1"]
    assert flow("list", "--doubt", "--status", "failed", "-j").json == []
    (run,) = flow("show", "p1", "-j").json
    (asked,) = run["approvals"]
    assert (asked["details"]["step"], asked["details"]["attempt"]) == ("shop.pay", 1)
    flow("approve", "p1", asked["title"], "--yes", "--by", "ann", "--data", '{"answer": "done", "result": 7}')
    go_on()
    assert flow("show", "p1", "-j").json[0]["result"] == 7
    assert [one["id"] for one in flow("list", "--doubt", "-j").json] == ["p2"]


@pytest.mark.parametrize(("since", "found"), [("1h", 1), ("2020-01-01", 1), ("2999-01-01T10:00", 0)])
def test_runs_since_a_time(flow, start, since, found):
    start(a=1)
    assert len(flow("list", "--since", since, "--json").json) == found


def test_a_run_is_shown_without_its_secrets(flow, start):
    start(big=100)
    done = flow("show", "big")
    assert "approval Go?" in done.out
    assert "█" in done.out
    (run,) = flow("show", "big", "--json").json
    assert run["args"] == [100]
    assert run["values"] == {"stage": "priced"}
    assert [one["title"] for one in run["approvals"]] == ["Go?"]
    import shop as module

    module.order.options(id="secret").start(1, card="4242")
    (secret,) = flow("show", "secret", "-j").json
    assert secret["kwargs"] == {"card": "***"}


def test_without_the_app_all_arguments_are_hidden_and_it_says_so(liteq, flow, start):
    start(big=100)
    done = liteq("-b", "sqlite:///shop.db", "workflow", "show", "big", "--json")
    assert done.json[0]["args"] == ["***"]
    assert "does not know the task 'shop.order'" in done.err
    assert "name the app with -A" in done.err


def test_steps_are_those_of_the_surface(flow, start):
    start(big=100)
    found = flow("steps", "big", "--json").json
    assert [(one["n"], one["kind"], one["name"], one["status"]) for one in found] == [
        (1, "step", "shop.reserve", "done"),
        (2, "step", "shop.price", "done"),
        (3, "approval", "Go?", "waiting"),
    ]
    fields = "n scope kind name key status attempts output error child_id memo started finished".split()
    assert set(fields) <= set(found[0])
    assert (found[1]["output"], found[1]["memo"]) == (300, False)


def test_a_graph_in_three_forms(flow, start):
    start(big=100)
    assert "  3 … approval Go?  waiting" in flow("graph", "big").out.splitlines()
    assert flow("graph", "big", "--format", "mermaid").out.startswith("flowchart TD\n")
    assert ET.fromstring(flow("graph", "big", "--format", "svg").out).tag.endswith("svg")
    assert flow("graph", "big", "--format", "mermaid", "-j").json[0]["graph"].startswith("flowchart TD")
    wrong = flow("graph", "big", "--format", "png")
    assert (wrong.code, "formats: text, mermaid, svg" in wrong.err) == (2, True)


def test_a_graph_shows_runs_and_canvases_that_call_each_other(flow, start, go_on):
    import_and_run(go_on, lambda module: module.mixed.options(id="m").start())
    assert flow("graph", "m").out.splitlines() == [
        "✓ shop.mixed  run m",
        "  1 ✓ call celery.chain  done",
        "  └─ ✓ shop.add  done",
        "     ✓ shop.add  done",
        "  2 ✓ call shop.child  done",
        "  └─   1 ✓ shop.price  done",
        "✓ end  succeeded",
    ]
    assert len(flow("graph", "m", "--depth", "0").out.splitlines()) == 4


def test_a_canvas_with_a_run_in_it_is_drawn(flow, go_on):
    sent = import_and_run(go_on, lambda module: (module.add.s(1, 2) | module.child.s() | module.add.s(1)).delay())
    lines = flow("graph", sent.id).out.splitlines()
    assert [line for line in lines if "run " not in line] == [
        "✓ shop.add  done", "  └─   1 ✓ shop.price  done", "✓ shop.add  done",
    ]  # fmt: skip
    assert sum(line.startswith("✓ shop.child  run ") for line in lines) == 1


def import_and_run(go_on: Callable[[], int], send: Callable[[Any], Any]) -> Any:
    import shop as module

    sent = send(module)
    go_on()
    return sent


def test_pending_lists_what_waits_for_a_person(flow, start):
    start(big=100, other=None)
    (one,) = flow("pending", "--json").json
    assert {key: one[key] for key in ("run_id", "name", "title", "details", "schema")} == {
        "run_id": "big", "name": "shop.order", "title": "Go?", "details": {"total": 300}, "schema": None,
    }  # fmt: skip
    assert one["due"] > one["since"]
    assert flow("pending", "other", "-j").json == []


def test_patches_tell_what_unfinished_runs_still_need(flow, start):
    start(small=1, big=100, other=None)
    assert flow("patches", "--json").json == [
        {"name": "shop.order", "kind": "patch", "id": "tagged", "runs": 1},
        {"name": "shop.order", "kind": "version", "id": "1", "runs": 1},
        {"name": "shop.waits", "kind": "version", "id": "1", "runs": 1},
    ]
    assert len(flow("patches", "--name", "shop.waits", "-j").json) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("show", "x"), ("steps", "x"), ("graph", "x"), ("pending", "x"), ("approve", "x", "?", "--yes", "--by", "bob"),
        ("fork", "x", "1"), ("rewind", "x", "1"), ("cancel", "x"), ("terminate", "x"), ("pause", "x"), ("resume", "x"),
        ("retry", "x"), ("export", "x"), ("gc", "x"), ("replay", "--check", "x"), ("list", "--after", "x"),
    ],
)  # fmt: skip
def test_an_unknown_id_is_an_error(flow, command):
    done = flow(*command)
    assert done.code == 1
    assert "no such run 'x'; it was never started in this file" in done.err


def test_looking_makes_no_file(shop, project):
    assert shop("workflow", "list").code == 69
    assert not (project / "shop.db").exists()


# -- acting ----------------------------------------------------------------------------------------------------------


def test_an_event_is_sent(flow, start, go_on):
    start(one=None)
    assert flow("send", "one", "go", '"!"').out == "Sent go to one.\n"
    go_on()
    assert flow("list", "-j").json[0]["status"] == "succeeded"
    late = flow("send", "one", "go")
    assert late.code == 1


def test_an_event_waits_for_a_run_that_is_yet_to_be_started(flow, start):
    done = flow("send", "one", "go", "5")
    assert "no run 'one' is known yet: the event waits for it" in done.err
    start(one=None)
    assert flow("list", "-j").json[0]["status"] == "succeeded"


def test_a_payload_that_is_no_json_is_refused(flow):
    done = flow("send", "one", "go", "hello")
    assert (done.code, "is not JSON" in done.err, "write a text as" in done.err) == (2, True, True)


def test_an_approval_is_decided_once(flow, start, go_on):
    start(big=100)
    approve = ("approve", "big", "Go?")
    assert flow(*approve).code == 2
    assert flow(*approve, "--by", "bob").code == 2, "the decision is said"
    assert flow(*approve, "--yes", "--by", "bob", "--comment", "fine").out == "Approved 'Go?' of big.\n"
    again = flow(*approve, "--yes", "--by", "ann", "-j").json
    assert again == [{"id": "big", "title": "Go?", "ok": True, "by": "ann", "decided": False}]
    other = flow(*approve, "--no", "--by", "ann")
    assert (other.code, "approved by bob at" in other.err) == (1, True)
    go_on()
    assert flow("list", "-j").json[0]["status"] == "succeeded"
    assert flow("approve", "big", "Gone?", "--no", "--by", "ann").code == 1


def test_what_is_done_to_a_run_is_in_the_audit(shop, flow, start, go_on):
    start(one=None)
    flow("pause", "one")
    flow("cancel", "one", "--reason", "no more")
    told = [(one["action"], one["target"], one["reason"]) for one in shop("activity", "--json").json]
    assert told == [("cancel", "one", "no more"), ("pause", "one", "")]


def test_runs_are_paused_and_go_on(flow, start, go_on):
    start(one=None)
    assert flow("pause", "one").out == "1 run paused.\n"
    flow("send", "one", "go")
    go_on()
    assert flow("list", "-j").json[0]["status"] == "paused"
    assert flow("pause", "one").out == "0 runs paused.\none: it is paused\n"
    assert flow("resume", "one").code == 0
    go_on()
    assert flow("list", "-j").json[0]["status"] == "succeeded"


def test_a_run_is_cancelled_with_a_reason(flow, start, go_on):
    start(one=None, two=None)
    assert flow("cancel", "one", "--reason", "no stock").code == 0
    assert flow("terminate", "two", "--reason", "at once").code == 0
    go_on()
    assert {run["id"]: run["status"] for run in flow("list", "-j").json} == {"one": "cancelled", "two": "cancelled"}
    assert "no stock" in flow("show", "one").out
    done = flow("cancel", "one", "--json")
    assert (done.code, done.json) == (1, [{"id": "one", "done": False, "why": "it is cancelled"}])


def test_one_misspelt_id_changes_none(flow, start):
    start(one=None)
    assert flow("cancel", "one", "oen").code == 1
    assert flow("list", "-j").json[0]["status"] == "waiting"


def test_many_runs_are_chosen_by_what_they_are_and_it_asks(flow, start, go_on):
    start(a=None, b=None, big=100, small=1)
    asked = flow("cancel", "--name", "shop.waits")
    assert asked.code == 2
    assert "this is to cancel 2 runs of 'shop.waits'; add --yes" in asked.err
    assert flow("cancel", "--name", "shop.waits", "--yes").out == "2 runs asked to end.\n"
    go_on()
    assert {run["id"]: run["status"] for run in flow("list", "-j").json} == {
        "a": "cancelled", "b": "cancelled", "big": "waiting", "small": "succeeded",
    }  # fmt: skip
    assert flow("cancel", "--tag", "test", "--since", "1h", "--yes").out == "1 run asked to end.\n"


def test_ids_and_a_choice_are_not_mixed(flow, start):
    start(one=None)
    assert flow("cancel", "one", "--name", "shop.waits").code == 2
    assert "no run is chosen" in flow("cancel").err
    assert "statuses: queued" in flow("cancel", "--status", "waitng").err


def test_a_failed_run_goes_on_at_the_step_that_failed(flow, start, go_on):
    start(bad=13)
    import shop as module

    assert flow("list", "-j").json[0]["error"] == "ValueError: declined"
    assert flow("retry", "--status", "failed", "--yes").out == "1 run retried.\n"
    go_on()
    assert module.ran == ["reserve", "charge", "charge"]


def test_a_fork_keeps_the_steps_before_and_a_rewind_forgets_those_after(flow, start, go_on):
    start(small=1)
    import shop as module

    assert flow("fork", "small", "3", "--id", "again").out == "again\n"
    go_on()
    assert module.ran == ["reserve", "charge", "charge"]
    assert flow("show", "again", "-j").json[0]["forked_from"] == "small"
    assert flow("rewind", "again", "1").code == 0
    go_on()
    assert module.ran[3:] == ["reserve", "charge"]
    assert flow("fork", "small", "0").code == 2


# -- moving and checking ---------------------------------------------------------------------------------------------


def test_an_export_hides_what_is_sensitive(flow, liteq, go_on):
    import shop as module

    module.order.options(id="paid").start(1, card="4111-1111-1111")
    module.order.options(id="long").start(100, "4222-2222-2222")
    go_on()
    assert "1111-1111" not in flow("export", "paid").out
    assert '"4222' not in flow("export", "long").out
    assert "4111-1111-1111" in flow("export", "paid", "--sensitive").out
    forgotten()
    unknown = liteq("-b", "sqlite:///shop.db", "workflow", "export", "paid")
    assert (unknown.code, "1111-1111" in unknown.out) == (0, False)
    assert "name the app with -A" in unknown.err


def test_runs_are_exported_and_brought_back(flow, start, go_on, project):
    start(big=100, small=1)
    lines = flow("export", "big", "small").out
    Path("runs.jsonl").write_text(lines)
    assert [json.loads(line)["message"]["id"] for line in lines.splitlines()] == ["big", "small"]
    assert flow("import", "runs.jsonl").code == 1, "its ids are in use here"
    there = "-b", "sqlite:///there.db"
    forgotten()
    assert flow("import", "runs.jsonl", *there).out == "2 runs imported.\n"
    assert {run["id"]: run["status"] for run in flow("list", "-j", *there).json} == {
        "big": "stuck", "small": "succeeded",
    }  # fmt: skip
    assert flow("resume", "big", *there).code == 0
    go_on()
    assert flow("pending", "-j", *there).json[0]["run_id"] == "big"


def test_a_file_that_is_no_export_is_refused_with_its_line(flow, project):
    Path("runs.jsonl").write_text("\n[1]\n")
    done = flow("import", "runs.jsonl")
    assert (done.code, "line 2 is not a run" in done.err) == (1, True)


def test_gc_deletes_ended_runs(flow, start):
    start(small=1, one=None)
    assert flow("gc", "one").code == 1, "it has not ended"
    assert flow("gc").out == "0 rows deleted.\n", "workflow_expires is a month"
    assert flow("gc", "--older-than", "0s").code == 2, "it asks"
    assert flow("gc", "--older-than", "soon", "-y").code == 2
    assert flow("gc", "small").out == "1 run deleted.\n"
    assert [run["id"] for run in flow("list", "-j").json] == ["one"]


def forgotten() -> None:
    """Let the next command import the app anew, as in a process of its own."""
    sys.modules.pop("shop").app.close()
    importlib.invalidate_caches()


def changed(project: Path, before: str, after: str) -> None:
    """Deploy other code: the module as it is now, with `after` in place of `before`."""
    assert before in FLOWS
    (project / "shop.py").write_text(FLOWS.replace(before, after))
    forgotten()


def test_code_that_fits_passes_the_check_and_runs_nothing(flow, start, project):
    start(small=1, big=100, one=None)
    before = flow("list", "-j").json
    changed(project, 'return {"total": total}', 'return {"total": total, "new": 1}')
    done = flow("replay", "--check")
    assert (done.code, done.out) == (0, "3 runs checked: this code fits.\n")
    import shop as module

    assert module.ran == []
    assert flow("list", "-j").json == before, "nothing was written"


def test_code_that_does_not_fit_fails_the_check_with_what_was_recorded_and_found(flow, start, project):
    start(big=100, one=None)
    Path("runs.jsonl").write_text(flow("export", "big", "one").out)
    before = flow("list", "-j").json
    changed(project, "total = price(n)", "total = charge(n)['total'] * 3")
    for more in ((), ("--from", "runs.jsonl")):
        done = flow("replay", "--check", *more, "--json")
        assert done.code == 1
        fits, wrong = sorted(done.json, key=lambda one: one["id"] == "big")
        assert fits["ok"]
        assert (wrong["name"], wrong["recorded"], wrong["found"]) == (
            "shop.order", "step 'shop.price'", "step 'shop.charge'",
        )  # fmt: skip
        assert "call 2" in wrong["position"]
    changed(project, "total = price(n)", "total = charge(n)['total'] * 3")
    assert "1 would not go on with this code" in flow("replay", "--check", "big").out
    assert flow("list", "-j").json == before


def test_code_that_raises_where_a_run_went_on_fails_the_check(flow, start, project):
    start(small=1, big=100)
    changed(project, "total = price(n)", "total = price(n) + {}['rate']")
    done = flow("replay", "--check")
    assert done.code == 1
    assert "shop.order big (waiting): its body raises KeyError: 'rate'\n" in done.out
    assert "2 runs checked: 2 would not go on with this code." in done.out


def test_a_replay_from_a_file_leaves_the_queue_alone(flow, start, project):
    start(one=None)
    Path("runs.jsonl").write_text(flow("export", "one").out)
    assert flow("terminate", "one").code == 0
    assert flow("gc", "one").code == 0
    changed(project, "ran = []", "ran = []\napp.storage.migrate()  # a module that opens the queue when it is imported")
    assert flow("replay", "--check", "--from", "runs.jsonl").code == 0
    forgotten()
    assert flow("list", "-j").json == []


def test_a_workflow_that_is_gone_fails_the_check(flow, start, project):
    start(one=None)
    changed(project, "def waits(", "def awaits(")
    done = flow("replay", "--check")
    assert done.code == 1
    assert "shop.waits" in done.out


# -- the memo, and the state of the queue ----------------------------------------------------------------------------


def test_the_memo_is_shown_and_cleared(shop, flow, start):
    start(a=1, b=2)
    (one,) = shop("memo", "stats", "--json").json
    assert one.keys() == {"name", "entries", "hits", "bytes", "saved", "computing"}
    assert (one["name"], one["entries"], one["hits"], one["saved"]) == ("shop.price", 2, 0, "0")
    kept = shop("memo", "list", "--json").json
    assert [entry["name"] for entry in kept] == ["shop.price"] * 2
    assert kept[0]["scope"] is None
    shown = shop("memo", "show", kept[0]["key"], "--json").json
    assert shown == kept[0] | {"value": shown["value"]}
    assert sorted([shown["value"], shop("memo", "show", kept[1]["key"], "--json").json["value"]]) == [3, 6]
    assert f"key: {kept[0]['key']}\n" in shop("memo", "show", kept[0]["key"]).out
    nothing = shop("memo", "show", "none")
    assert (nothing.code, "`liteq memo list`" in nothing.err) == (1, True)
    assert shop("memo", "list", "--scope", "tenant:a", "--json").json == []
    assert shop("memo", "list", "--older", "x").code == 2
    assert shop("memo", "clear").code == 2
    assert shop("memo", "clear", "--all").code == 2, "it asks"
    misspelt = shop("memo", "clear", "shop.pirce", "-j")
    assert (misspelt.json, "`liteq memo stats` lists" in misspelt.err) == ([{"cleared": 0}], True)
    assert shop("memo", "clear", "shop.price", "--name", "x").code == 2
    assert shop("memo", "clear", "--all", "--scope", "tenant:a").code == 2
    assert shop("memo", "clear", "shop.price", "--older", "1h").out == "0 results cleared.\n"
    assert shop("memo", "clear", "shop.price").out == "2 results cleared.\n"
    start(c=3)
    assert shop("memo", "clear", "--yes", "--json").json == [{"cleared": 1}]
    assert "the memo is empty" in shop("memo", "stats").err


def test_status_tells_of_runs_that_wait(shop, flow, start):
    start(big=100, one=None)
    flow("pause", "one")
    err = shop("status").err
    assert "runs: 1 waits for something, 1 is paused, 1 approval is open (`liteq workflow pending`)" in err
