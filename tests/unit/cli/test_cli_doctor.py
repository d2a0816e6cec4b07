"""`liteq doctor --fix`: says, asks, does; and touches no message."""

from __future__ import annotations

import importlib
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from liteq.context.identity import me
from liteq.states import State
from liteq.storage.sqlite.disk.log_check import LogState
from liteq.storage.sqlite.doctor import remedies

INDEX = "liteq_messages_blocked"  # of one column, and of no row in a test: it is made by hand below

# The index loses its rows by the back door: another program takes it out of the schema, writes, and puts it back.
SPOIL = """
import sqlite3, sys
def run(*statements):
    file = sqlite3.connect(sys.argv[1], isolation_level=None)
    file.execute("PRAGMA writable_schema=ON")
    found = [file.execute(sql, args).fetchall() for sql, args in statements]
    version = file.execute("PRAGMA schema_version").fetchone()[0]
    file.execute(f"PRAGMA schema_version={version + 1}")
    file.close()
    return found
row = run(("SELECT * FROM sqlite_master WHERE name = 'liteq_messages_root'", ()))[0][0]
run(("DELETE FROM sqlite_master WHERE name = 'liteq_messages_root'", ()))
run(("UPDATE liteq_messages SET root_id = id", ()))
run(("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row))
"""


@pytest.fixture
def shop(liteq) -> Callable[..., object]:
    """The command, on a queue with three messages."""
    for _ in range(3):
        liteq("-A", "shop", "call", "shop.add", "-a", "[1, 2]")
    return lambda *args, **options: liteq("-b", "sqlite:///shop.db", *args, **options)  # an app for each: it looks only


@pytest.fixture
def storage(shop):
    import shop as module

    return module.app.storage


@pytest.fixture
def terminal(monkeypatch) -> None:
    """Somebody is there to be asked."""
    monkeypatch.setattr("liteq.cli.parts.asking.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))


def fixes(shop) -> dict[str, str]:
    """Do all that --fix offers; the results by name."""
    done = shop("doctor", "--fix", "--yes", "--json")
    assert done.code == 0, done.out
    assert all(one["done"] for one in done.json["fixes"])
    return {one["name"]: one["result"] for one in done.json["fixes"]}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def spoil(path: Path, program: str) -> None:
    """Do it in another process: two libraries in one drop each other's locks."""
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


# -- says, asks, does ------------------------------------------------------------------------------------------------


def test_nothing_is_done_on_a_sound_file(shop):
    done = shop("doctor", "--fix", "--yes")
    assert (done.code, "to do:" in done.out) == (0, False)
    assert "nothing that --fix sets right" in done.err


def test_it_says_what_it_would_do_and_does_nothing_where_nobody_can_be_asked(shop, project):
    (project / "shop.db").chmod(0o644)
    done = shop("doctor", "--fix")
    assert done.code == 2
    assert "to do: let nobody else open the files: shop.db 644 to 600" in done.out
    assert "add --yes" in done.err
    assert mode(project / "shop.db") == 0o644


def test_each_is_asked_about(shop, project, storage, terminal):
    (project / "shop.db").chmod(0o644)
    storage.register_worker(replace(me("gone@here"), started="1"))
    done = shop("doctor", "--fix", input="n\ny\n")
    assert "rights: left as it is" in done.out
    assert "leases: 1 worker off the list" in done.out
    assert mode(project / "shop.db") == 0o644
    assert storage.reader.workers() == []


def test_a_remedy_that_fails_is_told_and_the_others_are_done(shop, project, storage, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (project / "shop.db").chmod(0o644)
    storage.register_worker(replace(me("gone@here"), started="1"))
    monkeypatch.setattr(remedies.os, "chmod", refused)
    found = shop("doctor", "--fix", "--yes", "--json").json["fixes"]
    assert [(one["name"], one["done"]) for one in found] == [("rights", False), ("leases", True)]
    assert "not permitted" in found[0]["result"]


def test_yes_without_fix_is_refused(shop):
    assert shop("doctor", "--yes").code == 2


# -- rights ----------------------------------------------------------------------------------------------------------


def test_other_users_are_shut_out(shop, project):
    files = [project / "shop.db", project / "shop.db-gate"]
    for path in files:
        path.chmod(0o644)
    assert "rights" in fixes(shop)
    assert [mode(path) for path in files] == [0o600, 0o600]


def test_a_group_that_shares_the_queue_keeps_it(shop, project):
    (project / "shop.db").chmod(0o664)
    (project / "shop.db-gate").chmod(0o660)
    fixes(shop)
    assert (mode(project / "shop.db"), mode(project / "shop.db-gate")) == (0o660, 0o660)


# -- unfinished copies -------------------------------------------------------------------------------------------------


def test_the_copies_of_killed_processes_are_told_and_removed(shop, project):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    part = project / f"shop.db.part{ended.pid}"
    for name in (part, Path(f"{part}-journal"), project / "shop.db.part1", project / "shop.db.partly"):
        name.write_text("half a copy")
    assert f"{part.name}: left by a restore that was killed" in shop("doctor").out
    assert fixes(shop)["unfinished copies"] == "1 removed"
    assert sorted(path.name for path in project.glob("shop.db.part*")) == ["shop.db.part1", "shop.db.partly"]


# -- leases ----------------------------------------------------------------------------------------------------------


def test_leases_of_processes_that_are_gone_end(shop, storage):
    worker = storage.register_worker(replace(me("gone@here"), started="1"))
    (lease,) = storage.claim(["celery"], worker=worker, limit=1, visibility_s=3_600)
    assert fixes(shop)["leases"] == "1 worker off the list, 1 message back"
    assert storage.reader.find(lease.id).state is State.PENDING


def test_leases_of_a_process_that_lives_stay(shop, storage):
    worker = storage.register_worker(me("here@here"))
    (lease,) = storage.claim(["celery"], worker=worker, limit=1, visibility_s=3_600)
    assert fixes(shop) == {}
    assert storage.reader.find(lease.id).state is State.LEASED


# -- indexes ---------------------------------------------------------------------------------------------------------


def test_an_index_that_was_dropped_is_told_and_made_anew(shop, storage):
    with storage.driver.write() as tx:
        tx.execute(f"DROP INDEX {INDEX}")
        tx.execute("DROP TRIGGER liteq_attempts_leave")
    checks = {one["name"]: one for one in shop("doctor", "--json").json["checks"]}
    assert checks["indexes"]["status"] == "error"
    assert f"{INDEX}" in checks["indexes"]["detail"]
    assert fixes(shop)["indexes"] == "2 made"
    assert storage.driver.describe()["missing"] == []


def test_an_index_that_does_not_fit_its_rows_is_made_anew(shop, project, storage):
    storage.close()
    spoil(project / "shop.db", SPOIL)
    done = shop("doctor", "--json")
    checks = {one["name"]: one["detail"] for one in done.json["checks"]}
    assert (done.code, "the rows are whole" in checks["integrity"]) == (1, True)
    assert fixes(shop)["indexes"] == "made anew, and the file is whole"
    assert storage.reader.counts()[0].n == 3


def test_where_rows_are_damaged_nothing_is_written(shop, storage):
    facts = storage.driver.describe()
    of_rows = "Tree 9 page 3: btreeInitPage() returns error code 11"
    for damage in (
        {"integrity": [of_rows]},
        {"integrity": ["row 1 missing from index a", of_rows]},
        {"log": {"frames": 3, "problem": "frame 4 is damaged"}},
    ):
        assert remedies.remedies(storage.driver, {**facts, **damage, "missing": ["liteq_x"]}) == []


def test_where_the_log_is_damaged_no_lease_is_ended(shop, storage, monkeypatch):
    storage.register_worker(replace(me("gone@here"), started="1"))
    monkeypatch.setattr("liteq.storage.sqlite.doctor.describe.check_log", lambda _: LogState(3, "frame 4 is damaged"))
    found = shop("doctor", "--fix", "--yes", "--json")
    assert (found.code, found.json["fixes"]) == (1, [])
    assert len(storage.reader.workers()) == 1


# -- free pages ------------------------------------------------------------------------------------------------------


def test_free_pages_go_back_to_the_disk(shop, project, storage):
    import shop as module

    module.app.enqueue_many([module.add.s("x" * 3_000, n) for n in range(2_000)])
    storage.purge()
    storage.driver.fold_log()
    before = (project / "shop.db").stat().st_size
    assert "MiB" in fixes(shop)["free pages"]
    assert (project / "shop.db").stat().st_size < before / 2
    assert storage.driver.free_bytes() < before / 10


@pytest.mark.parametrize(
    ("installed", "status"), [("2.9.1", "ok"), ("3.0.0", "warning"), (None, None)], ids=["tried", "newer", "none"]
)
def test_a_library_of_agents_stands_beside_the_version_that_was_tried(monkeypatch, installed, status):
    doctor = importlib.import_module("liteq.cli.files.doctor")
    monkeypatch.setattr(doctor, "_installed", lambda name: installed if name == "mcp" else None)
    found = [(one.name, one.status, one.detail) for one in doctor._libraries()]
    tried = doctor.TRIED["mcp"]
    assert found == ([] if status is None else [("libraries", status, f"mcp {installed} (tried: {tried})")])
