"""`liteq_crypt`: AES-256-GCM, with keys by id that may change while processes live."""

from __future__ import annotations

import logging
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from liteq.exceptions import ImproperlyConfigured
from liteq.serialization.sealing import open_vault

pytest.importorskip("cryptography")

from liteq_crypt import Codec, Keys, UnknownKey, new_key
from liteq_crypt import keys as keys_module

SECRET = b'[["the secret"],{}]'


@pytest.fixture(autouse=True)
def _no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYLOAD_KEYS_FILE", raising=False)
    monkeypatch.delenv("PAYLOAD_KEYS", raising=False)
    monkeypatch.setattr(keys_module, "LOOK_S", 0.0)  # each use looks at the file


def codec(*ids: str, ring: dict[str, str]) -> Codec:
    return Codec(Keys({id_: ring[id_] for id_ in ids}))


@pytest.fixture
def ring() -> dict[str, str]:
    return {id_: new_key() for id_ in ("old", "new", "fingerprint")}


def test_a_value_comes_back_and_is_not_to_be_read(ring: dict[str, str]) -> None:
    one = codec("old", ring=ring)
    encoded = one.encode(SECRET)
    assert b"secret" not in encoded
    assert one.decode(encoded) == codec("old", ring=ring).decode(encoded) == SECRET


def test_no_two_encodings_are_alike(ring: dict[str, str]) -> None:
    one = codec("old", ring=ring)
    assert len({one.encode(SECRET) for _ in range(100)}) == 100


def test_a_fork_counts_for_itself(ring: dict[str, str]) -> None:
    """Two processes that went on with one salt and one counter would share nonces, and give their texts away."""
    one = codec("old", ring=ring)
    before = one.encode(SECRET)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, one.encode(SECRET))
        os._exit(0)
    os.waitpid(pid, 0)
    child, parent = os.read(read, 4096), one.encode(SECRET)
    os.close(read), os.close(write)
    salt = slice(5, 21)
    assert before[salt] == parent[salt] != child[salt]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_during_a_look_at_the_file_looks_itself(ring: dict[str, str], tmp_path: Path) -> None:
    """The thread that held the lock is not in it, and nobody would let it go."""
    file = tmp_path / "keys"
    file.write_text("".join(f"{id_}:{key}\n" for id_, key in ring.items()))
    keys = Keys(file=file)
    with keys._lock:
        pid = os.fork()
        if not pid:
            signal.alarm(5)
            keys.refresh()
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_first_key_encodes_and_all_decode(ring: dict[str, str]) -> None:
    old, both = codec("old", ring=ring), codec("new", "old", ring=ring)
    assert both.key_id == "new"
    assert both.decode(old.encode(SECRET)) == SECRET
    with pytest.raises(UnknownKey, match=r"the key 'new' is not among those of given in code \(old\)"):
        old.decode(both.encode(SECRET))


@pytest.mark.parametrize("place", [0, 1, 3, 8, 25, 40, -1])
def test_a_value_that_was_changed_is_not_read(ring: dict[str, str], place: int) -> None:
    one = codec("old", ring=ring)
    changed = bytearray(one.encode(SECRET))
    changed[place] ^= 1
    with pytest.raises((ValueError, UnknownKey)):
        one.decode(bytes(changed))


@pytest.mark.parametrize("length", [0, 1, 2, 10, 28, 40])
def test_a_value_that_is_cut_off_is_not_read(ring: dict[str, str], length: int) -> None:
    one = codec("old", ring=ring)
    with pytest.raises((ValueError, UnknownKey)):
        one.decode(one.encode(SECRET)[:length])


def test_the_file_of_keys_is_read_anew_when_it_changes(ring: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the shop\nold:{ring['old']}\n")
    one = Codec(Keys(file=file))
    before = one.encode(SECRET)
    file.write_text(f"new:{ring['new']}  # since today\nold:{ring['old']}\n")
    assert one.key_id == "new"
    assert one.decode(before) == one.decode(one.encode(SECRET)) == SECRET


def test_a_key_that_is_not_known_yet_is_looked_for_at_once(
    ring: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"old:{ring['old']}\n")
    one = Codec(Keys(file=file))
    monkeypatch.setattr(keys_module, "LOOK_S", 3600.0)
    file.write_text(f"old:{ring['old']}\nnew:{ring['new']}\n")
    assert one.decode(codec("new", ring=ring).encode(SECRET)) == SECRET


def test_a_file_that_is_half_written_changes_nothing(
    ring: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"old:{ring['old']}\n")
    one = Codec(Keys(file=file))
    with caplog.at_level(logging.ERROR, logger="liteq.crypt"):
        file.write_text(f"new:{ring['new'][:10]}")
        assert one.key_id == "old"
        assert one.decode(one.encode(SECRET)) == SECRET
    assert "the keys of before stay" in caplog.text
    assert ring["new"][:10] not in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no key that encodes"),
        ("fingerprint:KEY", "no key that encodes"),
        ("KEY", "line 1 of .* is not ID:KEY"),
        ("old:c2hvcnQ=", "the key 'old' is not 32 bytes in base64"),
        ("two words:KEY", "the id of a key is"),
        ("old:KEY\nold:KEY", "has the key 'old' twice"),
    ],
)
def test_a_file_of_keys_that_makes_no_sense_is_refused_and_no_key_is_quoted(
    tmp_path: Path, text: str, words: str
) -> None:
    key, file = new_key(), tmp_path / "keys"
    file.write_text(text.replace("KEY", key))
    with pytest.raises(ImproperlyConfigured, match=words) as told:
        Keys(file=file)
    assert key not in str(told.value)


def test_without_keys_it_says_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="set PAYLOAD_KEYS_FILE to a file of lines ID:KEY"):
        Codec()
    with pytest.raises(ImproperlyConfigured, match="cannot be read: No such file"):
        Keys(file=tmp_path / "nowhere")


def test_keys_may_come_in_a_variable(ring: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYLOAD_KEYS", f"new:{ring['new']},old:{ring['old']}")
    vault = open_vault(Codec, "liteq_crypt:Codec")
    assert (vault.key_id, vault.open(vault.seal(SECRET))) == ("new", SECRET)


def test_fingerprints_stay_when_the_keys_change(ring: dict[str, str]) -> None:
    before, after = codec("old", "fingerprint", ring=ring), codec("new", "fingerprint", ring=ring)
    assert before.fingerprint(b"alice") == after.fingerprint(b"alice") != after.fingerprint(b"bob")
    assert codec("old", ring=ring).fingerprint(b"alice") is None


def test_a_line_for_the_file_is_made_by_a_command(tmp_path: Path) -> None:
    made = subprocess.run([sys.executable, "-m", "liteq_crypt", "2026-11"], capture_output=True, text=True, check=True)
    file = tmp_path / "keys"
    file.write_text(made.stdout)
    assert Keys(file=file).ring.first == "2026-11"
    wrong = subprocess.run([sys.executable, "-m", "liteq_crypt", "a b"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "the id of a key is" in wrong.stderr


@pytest.mark.parametrize("given", [["--help"], ["-h"], []])
def test_help_is_no_id_of_a_key(
    given: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["liteq_crypt", *given])
    with pytest.raises(SystemExit, match="usage: python -m liteq_crypt ID"):
        runpy.run_module("liteq_crypt", run_name="__main__")
    assert capsys.readouterr().out == ""
