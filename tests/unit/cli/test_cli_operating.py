"""The commands that do something to messages, and tell what was done: act, operations, activity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteq.exceptions import StorageBusy
from liteq.message import DeadLetter, WorkerIdentity, new_id
from liteq.serialization import encode_error
from liteq.states import State


@pytest.fixture
def shop(liteq: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: liteq("-A", "shop", *args, **options)


@pytest.fixture
def dead(project: Path, shop: Callable[..., Any]) -> Callable[..., list[str]]:
    """Send tasks that fail for good; their ids."""

    def dead(n: int = 1) -> list[str]:
        import shop as module

        storage = module.app.storage
        ids = [module.add.delay(1, 2).id for _ in range(n)]
        number = storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
        leases = storage.claim(["celery"], worker=number, limit=1_000, visibility_s=60)
        error = encode_error(ValueError("no"))
        storage.settle([(lease, DeadLetter(error)) for lease in leases])
        return ids

    shop("report")  # so that the module is imported, and forgotten at the end
    return dead


def state(id_: str) -> State | None:
    import shop

    record = shop.app.storage.reader.find(id_)
    return None if record is None else record.state


def test_an_act_is_done_and_told_with_its_reason(shop: Callable[..., Any], dead: Callable[..., list[str]]) -> None:
    first, second = dead(2)
    done = shop("act", "requeue", first, second, "--reason", "they paid")
    assert (done.code, done.out.count("was put back in its queue")) == (0, 2)
    told = shop("activity", "--json").json
    assert [(one["action"], one["target"], one["reason"], one["source"]) for one in told] == [
        ("requeue", second, "they paid", "cli"), ("requeue", first, "they paid", "cli"),
    ]  # fmt: skip
    assert shop("activity", "--target", first, "--limit", "5").out.count("they paid") == 1


def test_every_list_goes_on_behind_the_last_that_was_shown(
    shop: Callable[..., Any], dead: Callable[..., list[str]]
) -> None:
    for id_ in dead(3):
        shop("operations", "start", "move", "--where", id_, "--queue", "later", "--yes")
    for words in (("dead", "list"), ("activity",), ("operations", "list")):
        whole = [str(one["id"]) for one in shop(*words, "--json").json]
        first = shop(*words, "--limit", "2")
        assert f"--after {whole[1]} shows the next page" in first.err
        assert whole[1] in first.out
        rest = shop(*words, "--limit", "1", "--after", whole[1], "--json").json
        assert [str(one["id"]) for one in rest] == whole[2:3] != []
        wrong = shop(*words, "--after", "nothing")
        assert (wrong.code, "--after" in wrong.err) == (2, True)


def test_an_act_that_a_state_forbids_exits_with_1(shop: Callable[..., Any], dead: Callable[..., list[str]]) -> None:
    (id_,) = dead()
    refused = shop("act", "revoke", id_, "gone")
    assert refused.code == 1
    assert f"revoke does nothing to {id_}: it is dead" in refused.out
    assert "there is no message 'gone'" in refused.out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["reqeue", "x"], "nearest: 'requeue'"),
        (["move", "x"], "takes a queue or a priority"),
        (["retry", "x", "--queue", "mail"], "retry does not take --queue"),
        (["delete", "x"], "add --yes"),
    ],
)
def test_a_wrong_act_says_what_is_right(
    shop: Callable[..., Any], dead: Callable[..., list[str]], args: list[str], says: str
) -> None:
    dead()
    refused = shop("act", *args)
    assert refused.code == 2
    assert says in refused.err


def test_the_acts_before_an_error_are_told(
    shop: Callable[..., Any], dead: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteq.cli.tasks import act

    first, second = dead(2)

    def do(app: Any, action: str, id_: str, **more: Any) -> Any:
        if id_ == second:
            raise StorageBusy(5.0)
        return act_of(app, action, id_, **more)

    act_of = act.do
    monkeypatch.setattr(act, "do", do)
    done = shop("act", "requeue", first, second)
    assert (done.code, done.out.count("was put back in its queue")) == (75, 1)
    assert "Traceback" not in done.err


def test_a_message_is_edited_and_sent(
    shop: Callable[..., Any], dead: Callable[..., list[str]], work: Callable[[], int]
) -> None:
    (id_,) = dead()
    told = shop("act", "resend", id_, "--args", "[3, 4]", "--json").json
    assert work() == 1
    assert shop("result", told[0]["id"]).out == "7\n"
    assert state(id_) is State.DEAD


def test_an_operation_shows_what_it_finds_asks_and_is_listed(
    shop: Callable[..., Any], dead: Callable[..., list[str]]
) -> None:
    ids = dead(3)
    seen = shop("operations", "start", "requeue", "--where", "state:dead", "--dry-run")
    assert "3 of 3 messages that were found" in seen.out
    refused = shop("operations", "start", "requeue", "--where", "state:dead")
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    assert {state(id_) for id_ in ids} == {State.DEAD}
    done = shop("operations", "start", "requeue", "--where", "state:dead", "--yes", "--reason", "they paid")
    assert "done, 3 done, 0 skipped of 3 found" in done.out
    assert {state(id_) for id_ in ids} == {State.PENDING}
    (listed,) = shop("operations", "list", "--json").json
    assert (listed["kind"], listed["state"], listed["reason"]) == ("requeue", "done", "they paid")
    assert shop("operations", "show", listed["id"]).code == 0
    for verb in ("stop", "continue"):
        assert "the operation is done" in shop("operations", verb, listed["id"]).err
    assert shop("operations", "show", "gone").code == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--where", "stat:dead"], "the nearest is state"),
        (["--where", "state:dead", "--rate", "fast", "--yes"], "is no rate"),
        (["--where", "state:dead", "--step", "x"], "does not take --step"),
    ],
)
def test_a_wrong_operation_says_what_is_right(
    shop: Callable[..., Any], dead: Callable[..., list[str]], args: list[str], says: str
) -> None:
    dead()
    refused = shop("operations", "start", "requeue", *args)
    assert refused.code == 2
    assert says in refused.err


def test_many_dead_letters_are_requeued_and_dropped_by_an_operation(
    shop: Callable[..., Any], dead: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteq.cli.tasks import dead as command

    monkeypatch.setattr(command, "PAGE", 2)
    ids = dead(3)
    assert "3 done" in shop("dead", "requeue", "--task", "shop.add").out
    assert {state(id_) for id_ in ids} == {State.PENDING}
    more = dead(0)
    assert more == []
    assert "3 done" in shop("dead", "drop", "--all", "--yes").out
    assert {state(id_) for id_ in ids} == {None}
    kinds = [one["kind"] for one in shop("operations", "list", "--json").json]
    assert kinds == ["delete", "requeue"]


def test_what_the_other_commands_do_is_in_the_audit(shop: Callable[..., Any], dead: Callable[..., list[str]]) -> None:
    first, second = dead(2)
    shop("dead", "requeue", first)
    shop("dead", "drop", second)
    shop("control", "revoke", first)
    shop("purge", "--force")
    told = [(one["action"], one["target"]) for one in shop("activity", "--json").json]
    assert told == [("revoke", first), ("delete", second), ("requeue", first)]
