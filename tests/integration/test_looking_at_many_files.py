"""`--db 'tenants/*.db'` of the commands that look: a damaged file is told of, and the others are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.cli import main
from liteq.storage.storage import open_storage

APP = """
from liteq import LiteQ
app = LiteQ("shop")
@app.task(name="acme.bill")
def bill(): ...
"""


@pytest.fixture
def tenants(tmp_path: Path) -> Path:
    """Two tenants with a message each, and a third whose file is damaged."""
    folder = tmp_path / "tenants"
    folder.mkdir()
    for name in ("acme", "bolt"):
        with LiteQ(name, broker=f"sqlite:///{folder}/{name}.db", set_as_current=False) as app:
            app.send_task(f"{name}.bill")
    (folder / "crash.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8_000)
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.mark.parametrize("words", [["inspect", "messages"], ["inspect", "queues"], ["doctor"]])
def test_each_file_has_its_own_answer_and_a_damaged_one_an_error(tenants, capsys, words):
    code, out, _ = run(capsys, *words, "--db", f"{tenants}/*.db", "--json")
    found = json.loads(out)
    assert code == 1
    assert list(found) == [str(tenants / f"{name}.db") for name in ("acme", "bolt", "crash")]
    damaged = found[str(tenants / "crash.db")]
    assert list(damaged) == ["error"]
    assert "crash.db" in damaged["error"]
    acme = found[str(tenants / "acme.db")]
    with LiteQ("acme", broker=f"sqlite:///{tenants}/acme.db", set_as_current=False):
        _, alone, _ = run(capsys, *words, "-b", f"sqlite:///{tenants}/acme.db", "--json")
    if words == ["inspect", "messages"]:
        assert [one["task"] for one in acme] == ["acme.bill"]
    assert type(acme) is type(json.loads(alone))


def test_without_a_damaged_file_all_is_well(tenants, capsys):
    (tenants / "crash.db").unlink()
    code, out, _ = run(capsys, "inspect", "queues", "--db", f"{tenants}/*.db", "--json")
    assert code == 0
    assert json.loads(out)[str(tenants / "bolt.db")] == {"celery": {"pending": 1}}


def test_for_people_each_file_has_its_heading(tenants, capsys):
    code, out, err = run(capsys, "inspect", "messages", "--db", f"{tenants}/*.db")
    assert code == 1
    assert out.index("acme.db:\n") < out.index("acme.bill") < out.index("bolt.db:\n") < out.index("bolt.bill")
    assert "liteq: error:" in err
    assert err.count(f"{tenants}/crash.db") == 1


def test_status_asks_the_workers_of_each_file(tenants, capsys):
    from liteq.testing import start_worker

    (tenants / "crash.db").unlink()
    with (
        LiteQ("acme", broker=f"sqlite:///{tenants}/acme.db", set_as_current=False) as app,
        start_worker(app, pool="solo"),
    ):
        code, out, _ = run(capsys, "status", "--db", f"{tenants}/*.db", "--json", "-t", "5")
        found = json.loads(out)
        assert list(found[str(tenants / "acme.db")].values()) == [{"ok": "pong"}]
        assert found[str(tenants / "bolt.db")] == {}
        assert code == 69  # nobody answers there


def test_a_backup_of_all_is_a_folder_with_a_copy_of_each(tenants, tmp_path, capsys):
    target = tmp_path / "copies"
    code, out, _ = run(capsys, "backup", "--db", f"{tenants}/*.db", str(target), "--json")
    found = json.loads(out)
    assert code == 1
    assert list(found[str(tenants / "crash.db")]) == ["error"]
    assert sorted(path.name for path in target.iterdir()) == ["acme.db", "bolt.db"]
    assert found[str(tenants / "acme.db")]["path"] == str(target / "acme.db")
    copy = open_storage(f"sqlite:///{target}/acme.db?mode=ro")
    assert sum(count.n for count in copy.reader.counts()) == 1
    copy.close()
    code, out, _ = run(capsys, "backup", "--db", f"{tenants}/*.db", str(target), "--json")
    assert code == 1
    assert "is there already" in json.loads(out)[str(tenants / "acme.db")]["error"]


def test_metrics_have_the_file_as_a_label(tenants, capsys):
    pytest.importorskip("prometheus_client")
    code, out, err = run(capsys, "metrics", "--db", f"{tenants}/*.db")
    assert code == 1
    assert f'liteq_queue_messages{{db="{tenants}/acme.db",queue="celery",state="pending"}} 1.0' in out
    assert f'liteq_file_readable{{db="{tenants}/crash.db"}} 0.0' in out
    assert f'liteq_file_readable{{db="{tenants}/bolt.db"}} 1.0' in out
    assert out.count("# TYPE liteq_queue_messages ") == 1
    assert err.count(f"{tenants}/crash.db") == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["status", "--db", "tenant/*.db"], 78, "did you mean"),
        (["status", "--db", "tenants/*.sqlite"], 69, "no queue at"),
        (["status", "--db", "tenants/*.db", "-b", "sqlite:///a.db"], 2, "one of the two"),
        (["backup", "--db", "tenants/*.db"], 2, "name the folder"),
        (["backup", "--db", "tenants/*.db", "--to", "copies"], 2, "name it alone"),
        (["backup", "--db", "tenants/*.db", "tenants/acme.db/copies"], 73, "acme.db/copies cannot be made: Not a dir"),
        (["doctor", "--db", ""], 78, "--db is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(tenants, capsys, words, code, says):
    got, _, err = run(capsys, *words)
    assert (got, says in err) == (code, True), err


def test_an_app_brings_its_tasks_and_its_settings(tenants, tmp_path, monkeypatch, capsys):
    name = "app_that_is_looked_with"  # of no other test: a module stays in this process
    (tmp_path / f"{name}.py").write_text(APP)
    monkeypatch.syspath_prepend(tmp_path)
    code, out, _ = run(capsys, "-A", name, "inspect", "messages", "--args", "--db", f"{tenants}/acme.db", "--json")
    assert code == 0
    assert json.loads(out)[str(tenants / "acme.db")][0]["args"] == []
