"""Queues that are paused: nothing is claimed from them, by any way, until they are resumed or their time has come."""

from __future__ import annotations

from liteq.message import Ack
from liteq.policy.rates import Bucket
from liteq.states import State
from liteq.storage.claiming.rates import Budget
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import FakeWorker, Send


def test_nothing_is_claimed_from_a_paused_queue(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send(queue="mail")
    other = send(queue="celery")
    storage.queues.pause("mail", actor="ann", reason="the server is down")
    leases = storage.claim(["mail", "celery"], worker=worker.number, limit=10, visibility_s=60)
    assert [lease.id for lease in leases] == [other]
    assert worker.claim(queue="mail") == []


def test_what_runs_goes_on(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    lease = worker.claim_one()
    storage.queues.pause("celery")
    assert storage.settle([(lease, Ack(b"1"))]) == []
    record = storage.reader.find(id_)
    assert record is not None
    assert record.state is State.SUCCEEDED


def test_a_claim_without_a_look_leaves_it_out_too(storage: Storage, send: Send, worker: FakeWorker) -> None:
    send()
    storage.queues.pause("celery")
    for settled in ((), [(one_that_ends(storage, send, worker), Ack(b"1"))]):
        turn = storage.turn(settled, ["celery"], worker=worker.number, limit=5, visibility_s=60, expectant=True)
        assert turn.leases == []


def one_that_ends(storage: Storage, send: Send, worker: FakeWorker):  # type: ignore[no-untyped-def]
    send(queue="open")
    return worker.claim(queue="open")[0]


def test_a_claim_within_rates_leaves_it_out_and_holds_nothing(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    ids = [send(), send()]
    storage.queues.pause("celery")
    bucket = Bucket(1)

    def claim() -> list[str]:
        budget = Budget(lambda _task: bucket, clock.monotonic())
        turn = storage.turn(
            (), ["celery"], worker=worker.number, limit=5, visibility_s=60, budget=budget, expectant=True
        )
        return [lease.id for lease in turn.leases]

    assert claim() == []
    records = storage.reader.find_many(ids)
    assert {record.state for record in records.values()} == {State.PENDING}
    storage.queues.resume("celery")
    assert claim() == ids[:1]


def test_it_is_resumed(storage: Storage, send: Send, worker: FakeWorker) -> None:
    id_ = send()
    storage.queues.pause("celery")
    assert storage.queues.resume("celery")
    assert not storage.queues.resume("celery")
    assert worker.claim_one().id == id_


def test_it_ends_by_itself(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    id_ = send()
    storage.queues.pause("celery", clock.now_ms() / 1000 + 10)
    clock.advance(seconds=9.9)
    assert worker.claim() == []
    clock.advance(seconds=0.1)
    assert storage.queues.paused() == {}
    assert worker.claim_one().id == id_
    assert not storage.queues.resume("celery")


def test_one_that_is_over_is_remembered_for_a_minute(storage: Storage, clock: FakeClock) -> None:
    before_ms = clock.now_ms()
    storage.queues.pause("celery", before_ms / 1000 + 10)
    clock.advance(seconds=10)
    assert list(storage.queues.paused(since_ms=before_ms)) == ["celery"]
    clock.advance(seconds=59.9)
    storage.stats.tidy()
    assert list(storage.queues.paused(since_ms=before_ms)) == ["celery"]
    clock.advance(seconds=0.1)
    storage.stats.tidy()
    assert storage.queues.paused(since_ms=before_ms) == {}


def test_it_is_told_who_has_done_it_and_why(storage: Storage, clock: FakeClock) -> None:
    storage.queues.pause("mail", actor="ann", reason="smtp", source="cli")
    pause = storage.queues.paused()["mail"]
    assert (pause.since_ms, pause.until_ms, pause.actor, pause.reason) == (clock.now_ms(), None, "ann", "smtp")
    storage.queues.resume("mail", actor="bob", source="page")
    noted = [(one.action, one.target, one.actor, one.reason, one.source) for one in storage.audit.page()]
    assert noted == [("resume", "mail", "bob", "", "page"), ("pause", "mail", "ann", "smtp", "cli")]


# -- by a glob -------------------------------------------------------------------------------------------------------


def test_a_glob_holds_for_queues_that_fit_and_for_those_that_appear_later(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    send(queue="mail.fast")
    other = send(queue="mail")
    storage.queues.pause("mail.*", reason="smtp")
    send(queue="mail.new")
    queues = ["mail.fast", "mail.new", "mail"]
    leases = storage.claim(queues, worker=worker.number, limit=10, visibility_s=60)
    assert [lease.id for lease in leases] == [other]
    paused = storage.queues.paused()
    assert [paused.of(queue) is not None for queue in queues] == [True, True, False]
    assert storage.queues.resume("mail.*")
    assert len(storage.claim(queues, worker=worker.number, limit=10, visibility_s=60)) == 2


def test_a_glob_is_exact_about_case_and_a_bracket_in_a_name_is_none(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    ids = {send(queue="Mail.x"), send(queue="m1")}
    storage.queues.pause("mail.*")
    storage.queues.pause("m[1]")
    leases = storage.claim(["Mail.x", "m1"], worker=worker.number, limit=10, visibility_s=60)
    assert {lease.id for lease in leases} == ids
    storage.queues.pause("m[12]*")
    send(queue="m1")
    send(queue="m[12]x")
    assert len(storage.claim(["m1", "m[12]x"], worker=worker.number, limit=10, visibility_s=60)) == 1
    assert list(storage.queues.paused()) == ["m[12]*", "m[1]", "mail.*"]


def test_a_resume_by_glob_ends_all_that_fit_and_a_name_ends_no_glob(storage: Storage) -> None:
    for queue in ("mail.a", "mail.b", "mail.*", "pay", "m[a]", "ma"):
        storage.queues.pause(queue)
    assert storage.queues.resume("m[a]")
    assert not storage.queues.resume("mail.c")
    assert storage.queues.resume("mail.a")
    assert storage.queues.resume("mail.*")
    assert list(storage.queues.paused()) == ["ma", "pay"]
    assert storage.queues.resume("*")
    assert storage.queues.paused() == {}


def test_what_comes_due_and_what_expires_waits(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    due = send(due_ms=clock.now_ms() + 1000)
    late = send(expires_ms=clock.now_ms() + 2000)
    storage.queues.pause("cel*")
    clock.advance(seconds=60)
    assert worker.claim() == []
    records = storage.reader.find_many([due, late])
    assert {record.state for record in records.values()} <= {State.PENDING, State.SCHEDULED}
    storage.queues.resume("cel*")
    leases = {lease.id: lease for lease in worker.claim()}
    assert leases.keys() == {due, late}  # a worker revokes the late one when it comes to it
    assert leases[late].expires_ms is not None
    assert leases[late].expires_ms < clock.now_ms()
