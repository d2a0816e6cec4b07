"""The seam of the storage: an engine is reached by its URL alone, and a driver is small."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
from inspect import isgeneratorfunction
from pathlib import Path
from types import FunctionType

import pytest

from liteq.exceptions import ImproperlyConfigured, StorageError
from liteq.settings.schemes import BUILT_IN, is_ours, known_schemes, scheme_of
from liteq.storage import describe_url, engines, open_driver
from liteq.storage.driver import Driver, Options, Place, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.storage import Storage
from liteq.storage.upkeep import Upkeep

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "liteq.storage.sqlite"

# Packages that share the engine's own file, connection or locks with a framework, and so know which engine it is.
SHARES_THE_FILE = {
    "contrib/liteq_django/checks.py",  # what is wrong with Django's database as the place of the queue
    "contrib/liteq_django/drivers.py",  # the queue on Django's own connection
    "contrib/liteq_django/outbox.py",  # a lock beside the queue's file: one relay a machine
    "contrib/liteq_django/sharing.py",  # which of Django's databases is the queue's file
    "contrib/liteq_django/transaction.py",  # SQLite's errors out of Django's connection
}


def imports_the_engine(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module)) if f"{module}.".startswith(f"{ENGINE}."):
                return True
            case ast.ImportFrom(module="liteq.storage", names=names) if any(name.name == "sqlite" for name in names):
                return True
            case ast.Import(names=names) if any(f"{name.name}.".startswith(f"{ENGINE}.") for name in names):
                return True
            case ast.Constant(value=str(text)) if f"{text}.".startswith(f"{ENGINE}."):
                return True  # named by a string, to be imported later
    return False


def test_sqlite_is_imported_by_its_registration_and_by_what_shares_its_file() -> None:
    paths = [*(ROOT / "liteq").rglob("*.py"), *(ROOT / "contrib").glob("liteq_*/**/*.py")]
    found = {str(path.relative_to(ROOT)) for path in paths if imports_the_engine(path)}
    outside = {path for path in found if not path.startswith("liteq/storage/sqlite/")}
    assert outside == SHARES_THE_FILE | {"liteq/storage/engines.py"}


def own_methods(cls: type) -> set[str]:
    return {name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")}


def test_a_driver_is_ten_methods_and_a_transaction_five() -> None:
    assert len(Driver.__abstractmethods__) <= 10
    assert own_methods(Driver) == Driver.__abstractmethods__  # what is not the queue's is upkeep
    assert own_methods(Transaction) == {"execute", "executemany", "tokens", "uptime", "in_turn"}


class Bare(Upkeep):
    """An engine that needs no upkeep."""


def test_upkeep_does_nothing_unless_an_engine_needs_it(tmp_path: Path) -> None:
    bare = Bare()
    bare.fold_log()
    bare.sync()
    assert (bare.reserve(), bare.relieve(), bare.warnings()) == (True, False, [])
    assert (bare.describe(), bare.checks({})) == ({}, [])
    for copies in (bare.backup, bare.restore):
        with pytest.raises(StorageError, match="use the server's own tools"):
            copies(tmp_path / "copy.db")


# -- engines by scheme -----------------------------------------------------------------------------------------------


BESIDE = {"postgresql", "postgres"}  # in a package of its own, with an extra


def test_the_package_declares_its_engines() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["liteq.engines"]
    assert set(declared) == {*BUILT_IN, *BESIDE}
    for scheme, target in declared.items():
        engine = importlib.metadata.EntryPoint(scheme, target, "liteq.engines").load()
        if scheme in BUILT_IN:
            assert engine is engines.engine_of(f"{scheme}:///tasks.db")
        else:
            assert engine.describe_url(f"{scheme}://db.example/queue").where == "db.example/queue?schema=liteq"


@pytest.fixture
def without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])


def test_a_checkout_without_metadata_has_sqlite(without_metadata: None, tmp_path: Path) -> None:
    assert open_driver(f"sqlite:///{tmp_path}/q.db").where() == f"{tmp_path}/q.db"
    assert known_schemes() == ["sqlite", "liteq"]


class FakeEngine:
    def open(self, url: str, options: Options) -> Driver:
        raise NotImplementedError

    def describe_url(self, url: str, library: str | None = None) -> Place:
        return Place("server", "db.example/queue", "fake")


FAKE = FakeEngine()


@pytest.fixture
def another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("postgresql", f"{__name__}:FAKE", "liteq.engines")
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: FAKE)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])


def test_an_installed_engine_takes_the_urls_of_its_scheme(another_engine: None) -> None:
    assert describe_url("postgresql+psycopg://db.example/queue").where == "db.example/queue"
    assert is_ours("postgresql://db.example/queue")
    assert known_schemes() == ["sqlite", "liteq", "postgresql"]


def test_a_built_in_engine_looks_through_no_packages() -> None:
    program = (
        "import sys; from liteq.storage import open_driver; open_driver('sqlite:///q.db'); "
        "print('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_scheme_ends_before_the_name_of_a_library() -> None:
    assert scheme_of("sqlite+stdlib:///q.db") == "sqlite"
    assert scheme_of("queue.db") == ""


def test_a_misspelt_scheme_is_refused_with_the_nearest(without_metadata: None) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"scheme 'sqlit'; did you mean sqlite:\?.*write sqlite:///tasks.db"):
        describe_url("sqlit:///q.db")


def test_a_scheme_without_an_engine_says_what_to_install(another_engine: None) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"known are sqlite, liteq, postgresql.*install the package"):
        open_driver("mysql://db.example/queue")


def test_a_url_is_described_without_making_its_file(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    place = describe_url(f"sqlite:///{path}", "stdlib")
    assert place[:3] == ("file", str(path), "stdlib")
    assert place.missing.startswith(f"there is no file {path}")
    path.touch()
    assert describe_url(f"sqlite:///{path}").missing == ""


def test_each_verb_gives_up_what_it_left_open():
    verbs = {
        f"{cls.__name__}.{name}": function
        for cls in (Storage, *Facade.__subclasses__())
        for name, function in vars(cls).items()
        if isinstance(function, FunctionType) and not name.startswith("_")
    }
    assert "Storage.turn" in verbs
    closing = [name for name, one in verbs.items() if hasattr(one, "__wrapped__") or hasattr(one, "closes_itself")]
    generators = [name for name, one in verbs.items() if isgeneratorfunction(one)]
    assert sorted(closing + generators) == sorted(verbs)
