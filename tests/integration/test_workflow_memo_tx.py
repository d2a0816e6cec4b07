"""Steps that are paid for once: transactional ones, and those that the memo answers for any run."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from liteq import LiteQ
from liteq.exceptions import RunNotFound, StepTimeout, WorkflowError
from liteq.message import Ack
from liteq.workflow import ctx
from tests.integration.runs import Killed, Worker, killed_at

from .engines import on_both_engines


def rows_of(app, sql="SELECT n FROM stock"):
    with app.storage.driver.read() as tx:
        return [row[0] for row in tx.execute(sql)]


@on_both_engines
def test_the_rows_of_a_transactional_step_and_its_checkpoint_are_one_commit(app, worker):
    kill = [True]

    @app.step(name="create", tx=True)
    def create() -> None:
        ctx.tx.execute("CREATE TABLE IF NOT EXISTS stock (n INTEGER)")

    @app.task(name="told")
    def told(n): ...

    @app.step(name="reserve", tx=True)
    def reserve(n: int) -> int:
        ctx.tx.execute("INSERT INTO stock VALUES (?)", [n])
        told.delay(n)
        ctx.emit("s", n)
        if kill:
            kill.clear()
            raise Killed
        return len(ctx.tx.execute("SELECT * FROM stock"))

    @app.workflow(name="flow")
    def flow() -> int:
        create()
        return reserve(7)

    run = flow.start()
    worker.run()
    assert run.result(0) == 1
    assert rows_of(app) == [7]
    assert rows_of(app, "SELECT count(*) FROM liteq_messages WHERE task = 'told'") == [1]
    assert [chunk.data for chunk in run.stream("s")] == [7]


@on_both_engines
def test_a_transactional_step_that_fails_leaves_nothing(app, worker):
    @app.step(name="create", tx=True)
    def create() -> None:
        ctx.tx.execute("CREATE TABLE IF NOT EXISTS stock (n INTEGER)")

    @app.step(name="reserve", tx=True, retries=2, backoff=0)
    def reserve() -> None:
        ctx.tx.execute("INSERT INTO stock VALUES (1)")
        raise ValueError("out of stock")

    @app.workflow(name="flow")
    def flow() -> None:
        create()
        reserve()

    run = flow.start()
    worker.run()
    with pytest.raises(ValueError, match="out of stock"):
        run.result(0)
    assert rows_of(app) == []
    assert run.steps()[1].attempts == 3


@pytest.mark.parametrize("fails", [True, False])
def test_what_a_transactional_step_sends_belongs_to_its_commit(app, worker, fails):
    @app.task(name="plus")
    def plus(a: int, b: int) -> int:
        return a + b

    @app.workflow(name="other")
    def other(n: int) -> int:
        return n

    sent = []

    @app.step(name="sends", tx=True)
    def sends() -> None:
        ctx.tx.execute("CREATE TABLE IF NOT EXISTS stock (n INTEGER)")
        other.options(id="other").start(3)
        sent.append((plus.s(1, 2) | plus.s(3)).apply_async())
        if fails:
            raise ValueError("no")

    @app.workflow(name="flow")
    def flow() -> None:
        sends()

    run = flow.start()
    worker.run()
    if fails:
        assert run.status == "failed"
        with pytest.raises(RunNotFound):
            app.Run("other").info()
        assert app.storage.reader.find(sent[0].id) is None
    else:
        assert run.result(0) is None
        assert app.Run("other").result(0) == 3
        assert sent[0].get(timeout=0) == 6


@pytest.mark.parametrize("before", [True, False])
def test_a_step_in_a_database_of_ones_own_has_its_effect_once(app, worker, tmp_path, before):
    path = tmp_path / "own.db"
    with sqlite3.connect(path) as own:
        own.execute("CREATE TABLE stock (n INTEGER)")
    own.close()
    ran = []

    @app.step(name="reserve", tx=lambda: sqlite3.connect(path))
    def reserve(n: int) -> dict[str, int]:
        ran.append(n)
        ctx.tx.execute("INSERT INTO stock VALUES (?)", [n])
        return {"n": n}

    @app.workflow(name="flow")
    def flow() -> dict[str, int]:
        return reserve(7)

    run = flow.start()
    with killed_at(app, 1, before=before):
        worker.turn()
    worker.run()
    assert run.result(0) == {"n": 7}
    with sqlite3.connect(path) as own:
        assert own.execute("SELECT n FROM stock").fetchall() == [(7,)]
    own.close()
    assert ran == [7], "the result was found beside the rows"


def own_stock(path) -> None:
    with sqlite3.connect(path) as own:
        own.execute("CREATE TABLE stock (n INTEGER)")
    own.close()


def test_a_step_in_a_database_of_ones_own_may_have_a_run_and_a_key_of_any_length(app, worker, tmp_path):
    path = tmp_path / "own.db"
    own_stock(path)

    @app.step(name="reserve", tx=lambda: sqlite3.connect(path))
    def reserve(n: int) -> None:
        ctx.tx.execute("INSERT INTO stock VALUES (?)", [n])

    @app.workflow(name="flow")
    def flow() -> None:
        reserve.options(key="k" * 255)(1)
        reserve.options(key="k" * 254 + "l")(2)

    run = flow.options(id="r" * 255).start()
    worker.run()
    assert run.result(0) is None
    with sqlite3.connect(path) as own:
        assert own.execute("SELECT n FROM stock").fetchall() == [(1,), (2,)]
        assert own.execute("SELECT max(length(run)) <= 255, max(length(scope)) <= 255 FROM liteq_tx").fetchall() == [
            (1, 1)
        ]
    own.close()


def test_a_step_in_a_database_of_ones_own_may_lose_the_race_for_the_table(app, worker, tmp_path):
    path, refused = tmp_path / "own.db", []
    own_stock(path)

    class Cursor(sqlite3.Cursor):
        def execute(self, sql, *params):
            if sql.startswith("CREATE TABLE IF NOT EXISTS liteq_tx") and not refused:
                refused.append(1)
                raise sqlite3.IntegrityError("as PostgreSQL refuses it: pg_type_typname_nsp_index")
            return super().execute(sql, *params)

    class Connection(sqlite3.Connection):
        __module__ = "sqlite3"

        def cursor(self, factory=Cursor):
            return super().cursor(factory)

    @app.step(name="reserve", tx=lambda: sqlite3.connect(path, factory=Connection))
    def reserve(n: int) -> int:
        ctx.tx.execute("INSERT INTO stock VALUES (?)", [n])
        return n

    @app.workflow(name="flow")
    def flow() -> int:
        return reserve(1)

    run = flow.start()
    worker.run()
    assert run.result(0) == 1
    assert refused == [1]


def test_a_connection_in_autocommit_mode_is_refused(app, worker, tmp_path):
    """Its rows would be lost at the end, or be there without the step's result."""

    class Connection(sqlite3.Connection):
        __module__ = "sqlite3"  # where a DB-API module says how it writes parameters
        autocommit = True

    @app.step(name="sell", tx=lambda: sqlite3.connect(tmp_path / "shop.db", factory=Connection))
    def sell() -> None: ...

    @app.workflow(name="flow")
    def flow() -> None:
        sell()

    run = flow.start()
    worker.run()
    with pytest.raises(WorkflowError, match="is in autocommit mode"):
        run.result(0)


def test_tx_outside_of_a_transactional_step(app, worker):
    @app.step(name="plain")
    def plain() -> None:
        ctx.tx.execute("SELECT 1")

    @app.workflow(name="flow")
    def flow() -> None:
        plain()

    run = flow.start()
    worker.run()
    with pytest.raises(WorkflowError, match=r"@app\.step\(tx=True\)"):
        run.result(0)
    with pytest.raises(WorkflowError, match="tx= is for a `def` step"):

        @app.step(name="async_tx", tx=True)
        async def async_tx() -> None: ...


# -- memo ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def paid(app):
    paid = []

    @app.step(name="llm", memo="1h")
    def llm(model: str, n: int = 0) -> dict[str, object]:
        paid.append(model)
        if model == "kill" and len(paid) == 1:
            raise Killed
        if model == "bad":
            raise ConnectionError
        return {"answer": model}

    @app.workflow(name="asks")
    def asks(model: str) -> dict[str, object]:
        return llm(model)

    return paid


@on_both_engines
def test_the_same_question_of_another_run_is_paid_for_once(app, worker, paid):
    asks = app.tasks["asks"]
    runs = [asks.start("m1") for _ in range(20)]
    worker.run()
    assert [run.result(0) for run in runs] == [{"answer": "m1"}] * 20
    assert paid == ["m1"]
    assert [run.steps()[0].memo for run in runs[:2]] == [False, True]


def test_a_memo_ends(app, worker, paid):
    asks = app.tasks["asks"]
    asks.start("m1")
    worker.run()
    app.clock.advance(3601)
    asks.start("m1")
    worker.run()
    assert paid == ["m1", "m1"]


def test_a_claimant_that_is_killed_does_not_block_the_others(app, worker, paid):
    asks = app.tasks["asks"]
    runs = [asks.start("kill") for _ in range(3)]
    for _ in range(3):
        worker.run()
        app.clock.advance(31)
    assert [run.result(0) for run in runs] == [{"answer": "kill"}] * 3
    assert paid == ["kill", "kill"]


def test_a_failure_is_not_kept(app, worker, paid):
    asks = app.tasks["asks"]
    runs = [asks.start("bad") for _ in range(2)]
    worker.run()
    assert [run.status for run in runs] == ["failed", "failed"]
    assert paid == ["bad", "bad"]


def test_a_default_counts_as_given_and_memo_key_decides(app, worker):
    paid = []

    @app.step(name="keyed", memo=True, memo_key=lambda text, trace: text.lower())
    def keyed(text: str, trace: str) -> str:
        paid.append(text)
        return text

    @app.workflow(name="flow")
    def flow(text: str, trace: str) -> str:
        return keyed(text, trace)

    runs = [flow.start("Hello", "1"), flow.start("hello", "2")]
    worker.run()
    assert [run.result(0) for run in runs] == ["Hello", "Hello"]
    assert paid == ["Hello"]


@pytest.fixture
def scoped(app):
    paid = []

    @app.step(name="looks", memo=True, memo_scope="tenant")
    def looks(n: int) -> str:
        paid.append(n)
        return f"secret of {len(paid)}"

    @app.workflow(name="of_tenant")
    def of_tenant(n: int) -> str:
        return looks(n)

    @app.workflow(name="above")
    def above(n: int) -> str:
        return ctx.call(of_tenant, n)

    return paid


@on_both_engines
def test_an_answer_crosses_no_tenant(app, worker, scoped):
    flow = app.tasks["of_tenant"]
    runs = [flow.options(tags=tags).start(1) for tags in (["tenant:a"], ["tenant:a", "x"], ["tenant:b"], [], [])]
    worker.run()
    told = [run.result(0) for run in runs]
    assert told[0] == told[1]
    assert len(set(told)) == 4, "another tenant, and each run of none, has computed it"
    kept = app.storage.runs.memo_entries(scope="tenant:a")
    assert [(one.name, one.scope, one.hits) for one in kept] == [("looks", "tenant:a", 1)]
    assert len(app.storage.runs.memo_entries()) == 2, "nothing is kept of those without a tenant"


def test_a_child_belongs_to_the_tenant_of_its_parent(app, worker, scoped):
    runs = [app.tasks["above"].options(tags=[tag]).start(1) for tag in ("tenant:a", "tenant:b", "tenant:a")]
    worker.run()
    told = [run.result(0) for run in runs]
    assert told[0] == told[2] != told[1]
    assert len(scoped) == 2


@on_both_engines
def test_what_is_cleared_is_narrowed_by_name_tag_and_age(app, worker, scoped, paid):
    flow = app.tasks["of_tenant"]
    flow.options(tags=["tenant:a"]).start(1)
    flow.options(tags=["tenant:b"]).start(1)
    app.tasks["asks"].start("m1")
    worker.run()
    app.clock.advance(100)
    flow.options(tags=["tenant:a"]).start(2)
    worker.run()
    runs = app.storage.runs
    assert runs.clear_memo("llm", scope="tenant:a") == 0
    assert runs.clear_memo("looks", scope="tenant:a", older_s=100) == 1
    assert [(one.name, one.scope) for one in runs.memo_entries()] == [
        ("looks", "tenant:a"), ("llm", ""), ("looks", "tenant:b"),
    ]  # fmt: skip
    assert runs.memo_entry(runs.memo_entries()[1].key).output == b'{"answer":"m1"}'
    assert runs.clear_memo() == 3
    assert runs.memo_stats() == []


@on_both_engines
def test_what_its_hits_did_not_spend_is_counted(app):
    from decimal import Decimal

    with app.storage.driver.write() as tx:
        tx.executemany(
            "INSERT INTO liteq_memo (key, name, output, created_ms, hits, spent) VALUES (?, ?, ?, 1, ?, ?)",
            [
                ("a", "llm", b"1", 3, b'[{"cost":"0.02"},{"cost":"0.01"}]'),
                ("b", "llm", b"22", 1, b'[{"cost":"0.5"}]'),
                ("c", "llm", b"3", 9, b'[{"cost":null}]'),
                ("d", "free", b"4", 7, None),
            ],
        )
    free, llm = app.storage.runs.memo_stats()
    assert (llm.entries, llm.hits, llm.size, llm.saved) == (3, 13, 4, Decimal("0.59"))
    assert (free.hits, free.saved) == (7, None)


@on_both_engines
def test_what_a_step_has_spent_is_saved_by_each_answer_of_the_memo(app, worker):
    from decimal import Decimal

    @app.step(name="priced", memo=True)
    def priced(text: str) -> str:
        ctx.spend(model="m1", input_tokens=10, cost="0.03")
        return text

    @app.workflow(name="asks_priced")
    def asks_priced(text: str) -> str:
        return priced(text)

    runs = [asks_priced.start("a") for _ in range(3)]
    worker.run()
    (stats,) = app.storage.runs.memo_stats()
    assert (stats.entries, stats.hits, stats.saved) == (1, 2, Decimal("0.06"))
    paid, hit, _ = (run.usage() for run in runs)
    assert (paid.requests, paid.cost, paid.memo_hits, paid.saved) == (1, Decimal("0.03"), 0, 0)
    assert (hit.requests, hit.memo_hits, hit.saved) == (0, 1, Decimal("0.03"))


# -- timeouts --------------------------------------------------------------------------------------------------------


def test_a_step_is_told_of_its_timeout_and_tried_again(app, worker):
    ran = []

    @app.step(name="hangs", timeout=1, retries=1, backoff=0)
    def hangs() -> str:
        ran.append(ctx.attempt)
        while ctx.attempt == 1:
            pass
        return "second"

    @app.workflow(name="flow")
    def flow() -> str:
        return hangs()

    run = flow.start()
    worker.run()
    assert run.result(0) == "second"
    assert ran == [1, 2]


def test_a_step_whose_process_was_killed_at_its_timeout_fails_where_no_attempt_is_left(app, worker):
    from liteq.message import StepRow, Suspend
    from liteq.serialization import encode_error

    @app.step(name="hangs")
    def hangs() -> None: ...

    @app.workflow(name="flow")
    def flow() -> None:
        hangs()

    run = flow.start()
    lease = worker.claim()
    now_ms = app.clock.now_ms()
    row = StepRow(
        "", 1, "step", "hangs", attempts=1, error=encode_error(StepTimeout("killed")), due_ms=now_ms,
        started_ms=now_ms,
    )  # fmt: skip
    app.storage.settle([(lease, Suspend([row], due_ms=now_ms))])
    worker.run()
    with pytest.raises(StepTimeout, match="killed"):
        run.result(0)


def test_an_async_body_goes_on_while_another_run_computes(tmp_path):
    """Its other branch is what the other run waits for: a loop that stood still would end in a suspension."""
    begun, may_end = threading.Event(), threading.Event()

    with LiteQ("wf", broker=f"sqlite:///{tmp_path}/queue.db", durability="relaxed", set_as_current=False) as app:

        @app.step(name="dear", memo=True)
        async def dear() -> str:
            begun.set()
            may_end.wait(60)
            return "paid"

        @app.step(name="free")
        async def free() -> None:
            may_end.set()

        @app.workflow(name="first")
        async def first() -> str:
            return await dear()

        @app.workflow(name="second")
        async def second() -> str:
            answer, _ = await asyncio.gather(dear(), free())
            return answer

        first.start()
        worker = Worker(app)
        other = threading.Thread(target=worker.turn)
        other.start()
        assert begun.wait(60)
        run = second.start()
        lease = worker.claim()
        outcome = worker.execute(lease)
        other.join()
        assert isinstance(outcome, Ack), "in its first activation"
        worker.app.storage.settle([(lease, outcome)])
        assert run.result(0) == "paid"
