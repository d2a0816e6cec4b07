"""A file that an older liteq left half done is carried on by this one, under load: nothing is lost, nothing run twice.

The files are those of real older versions (upgrade_fill.py says how each was made): canvases half done, leases of a
worker that was killed, retries, schedules, dead letters, results, messages held by rates and limits, runs that wait.
"""

from __future__ import annotations

import json
import lzma
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.serialization import decode
from liteq.states import State
from liteq.storage.sqlite.migrate import migrations

from .harness import HERE, Drill, integrity, kill_one_child, wait_for
from .limits_crew import SETTINGS, app_of
from .nursery import Process
from .oracle import ask_afresh
from .sizes import NIGHTLY, size

SCHEMAS = [3, 5, 8, 10] if NIGHTLY else [3, 10]
ROUNDS = size("UPGRADE_ROUNDS", 5, 3_000)  # of upgrade_sender.py: three canvases each
KILLS = size("UPGRADE_KILLS", 1, 200)
# The results are years old.
KEPT = {"LITEQ_RESULT_EXPIRES": "0", "LITEQ_DEAD_EXPIRES": "0", "LITEQ_VISIBILITY_TIMEOUT": "3"}
KNOWN = max(migrations())

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children by Linux's /proc"),
]


class Upgrade(Drill):
    """A drill over the file of an older liteq. `told`: what must become of it; `m`: the app, as a client."""

    told: dict[str, Any]
    m: Any

    @classmethod
    def of(cls, schema: int, folder: Path) -> Upgrade:
        upgrade = cls(folder, forked=True, settings={**SETTINGS, **KEPT, "DRILL_FOLDER": str(folder)})
        upgrade.db.write_bytes(lzma.decompress((HERE / "older" / f"schema-{schema}.db.xz").read_bytes()))
        upgrade.told = json.loads((HERE / "older" / f"schema-{schema}.json").read_text())
        upgrade.m = app_of(upgrade, "upgrade_app")
        return upgrade

    def serve(self, queue: str, name: str) -> Process:
        command = ["-m", "liteq", "-A", "upgrade_app", "worker", "-c", "4", "-Q", queue, "-n", f"{name}@%h"]
        return self.start(*command, name=name)

    @property
    def reader(self) -> Any:
        return self.m.app.storage.reader

    def states(self, ids: Any) -> set[str]:
        return {record.state.value for record in self.reader.find_many(list(ids)).values()}

    def wait_for_values(self, values: dict[str, Any]) -> None:
        """Until each of these has succeeded, with its value."""
        found: dict[str, Any] = {}

        def are_there() -> bool:
            records = self.reader.find_many([id_ for id_ in values if id_ not in found])
            found.update((id_, plain(r)) for id_, r in records.items() if r.state is State.SUCCEEDED)
            return len(found) == len(values)

        try:
            wait_for(are_there, within_s=90)
        except AssertionError:
            left = [r for id_, r in self.reader.find_many(list(values)).items() if id_ not in found]
            raise AssertionError(f"not done: {[(r.id, r.task, r.queue, r.state) for r in left]}") from None
        assert found == values


def plain(record: Any) -> Any:
    """A result; a number for a string that is padded."""
    value = decode(record.result or b"null")
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


@pytest.fixture(params=SCHEMAS, ids=lambda schema: f"schema {schema}")
def upgrade(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upgrade]:
    upgrade = Upgrade.of(request.param, tmp_path)
    yield upgrade
    upgrade.m.app.close()
    upgrade.close()


def test_a_half_done_file_of_an_older_one_is_carried_on_under_load(upgrade: Upgrade) -> None:
    workers = [upgrade.serve("celery,quiet", f"worker-{n}") for n in range(2)]  # both migrate: one is first
    sender = upgrade.start(str(HERE / "upgrade_sender.py"), str(ROUNDS), name="producer-1")
    beat = upgrade.start("-m", "liteq", "-A", "upgrade_app", "beat", name="beat")
    assert upgrade.m.app.storage.migrate() == KNOWN
    check_what_had_ended(upgrade)
    check_what_stands(upgrade)
    (upgrade.folder / "go").touch()
    wait_for(lambda: State.LEASED.value not in upgrade.states(upgrade.told["leased"]), within_s=90)
    workers.append(upgrade.serve("later", "worker-later"))
    lift_limits(upgrade)
    befall(upgrade, workers)
    upgrade.wait_for_values(upgrade.told["values"])
    (upgrade.folder / "good").touch()
    requeued = upgrade.m.app.storage.dead.requeue(list(upgrade.told["dead"]))
    assert set(requeued) == set(upgrade.told["dead"])
    upgrade.wait_for_values({**upgrade.told["dead"], **upgrade.told["upstream"]})
    if upgrade.told["runs"]:
        carry_runs_on(upgrade)
    check_schedules(upgrade)
    assert sender.wait(timeout=300) == 0
    assert upgrade.stop(beat) == 0
    check_the_file(upgrade, workers)


def check_what_had_ended(upgrade: Upgrade) -> None:
    """Results are read; dead letters, and what was cancelled, are as they were."""
    app, told = upgrade.m.app, upgrade.told
    for id_, value in told["ended"].items():
        assert int(app.AsyncResult(id_).get(timeout=60)) == value
    id_, values = told["group"]
    assert app.GroupResult.restore(id_).get(timeout=60) == values
    assert upgrade.states(told["dead"]) == {"dead"}
    for id_ in told["dead"]:
        with pytest.raises(ValueError, match="not good yet"):
            app.AsyncResult(id_).get(timeout=60)
    assert upgrade.states(told["upstream"]) == {"upstream_failed"}
    assert upgrade.states([told["cancelled"]]) == {"cancelled"}


def check_what_stands(upgrade: Upgrade) -> None:
    """A far future, a unique key, a paused queue and a named send stand; what has expired meanwhile never runs."""
    m, told = upgrade.m, upgrade.told
    assert upgrade.states([told["far"]]) == {"scheduled"}
    wait_for(lambda: upgrade.states([told["expired"]]) == {"cancelled"})
    assert m.work.apply_async((99,), unique_key="the one", queue="later").id == told["unique"]
    if "quiet" in told:
        assert upgrade.states([told["quiet"]]) == {"pending"}
        assert m.app.control.resume_queue("quiet")
    if "named" in told:
        sent = m.work.send_many([(n,) for n in range(10)], name="an import", chunk=told["named"], queue="later")
        assert (sent.count, sent.skipped) == (10 - told["named"], told["named"])


def lift_limits(upgrade: Upgrade) -> None:
    """Rates of one in an hour hold the rest until somebody lifts them."""
    wait_for(lambda: len(upgrade.reader.workers()) >= 2)
    upgrade.m.app.control.global_rate_limit("upgrade_app.shared", "0")
    upgrade.m.app.control.rate_limit("upgrade_app.paced", "0")


def befall(upgrade: Upgrade, workers: list[Process]) -> None:
    """Kill children while they carry on."""
    rng = random.Random(1)
    for _ in range(KILLS):
        before = upgrade.executions()
        kill_one_child(rng.choice(workers), rng)
        wait_for(lambda n=before: upgrade.executions() > n or not is_waiting(upgrade))  # type: ignore[misc]


def is_waiting(upgrade: Upgrade) -> bool:
    return any(count.state in {State.PENDING, State.LEASED} for count in upgrade.reader.counts())


def carry_runs_on(upgrade: Upgrade) -> None:
    """Runs take their events and decisions, and repeat no recorded step; an answer that was paid for stands."""
    app, told, m = upgrade.m.app, upgrade.told, upgrade.m
    assert app.Run("listens").get_state() == {"at": "the wait"}
    app.Run("listens").send("go", 2)
    assert app.Run("approves").approve("May it?", by="ann")
    app.Run("undoes").send("fail")
    for name, value in told["runs"].items():
        wait_for(lambda name=name: app.Run(name).ready, within_s=90)  # type: ignore[misc]
        if name == "undoes":
            with pytest.raises(LookupError, match="the order is refused"):
                app.Run(name).result()
        else:
            assert app.Run(name).result() == value
    assert [chunk.data for chunk in app.Run("listens").stream("log")] == ["waits"]
    assert m.asks.options(id="asked again").start("why").result(timeout=60) == "WHY"
    lines = (upgrade.folder / "ledger").read_text().splitlines()
    assert not [line for line in lines if line.startswith(("one-1 ", "paid "))], "recorded by the older one"
    assert lines.count("undo-1 undoes") == 1


def check_schedules(upgrade: Upgrade) -> None:
    """Entries go on where they were: counted on, and what was missed is made up for once."""
    storage = upgrade.m.app.storage
    wait_for(lambda: lines_of(upgrade, "tick") >= 2)
    counted = storage.schedules.find("a tick").total_run_count
    assert counted > lines_of(upgrade, "tick"), "those of the older one are counted, too"
    assert lines_of(upgrade, "strike") <= 1 + 1, "one for all hours that were missed, and one if an hour ends now"


def lines_of(upgrade: Upgrade, kind: str) -> int:
    return (upgrade.folder / "ledger").read_text().count(f"{kind} ")


def check_the_file(upgrade: Upgrade, workers: list[Process]) -> None:
    """Nothing is left but what is due in a hundred years; nothing that had ended was run again."""
    app, told = upgrade.m.app, upgrade.told
    app.control.revoke(told["far"])
    upgrade.wait_until_settled()
    assert [upgrade.stop(worker) for worker in workers] == [0] * len(workers)
    ran = upgrade.ledger()
    assert not [id_ for id_ in [*told["ended"], told["cancelled"], told["expired"], told["far"]] if ran[id_]]
    accepted = upgrade.accepted()
    assert len(accepted) == 3 * ROUNDS
    records = upgrade.reader.find_many([a.id for a in accepted])
    wrong = [a for a in accepted if plain(records[a.id]) != a.expected]
    assert not wrong
    assert ask_afresh(upgrade.db, at_rest=True, forgotten=False) == {}
    assert integrity(upgrade.db) == "ok"
