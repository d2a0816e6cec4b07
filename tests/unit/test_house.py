"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import extras

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "liteq"
ROOMS = ("docs", "benchmarks", "contrib", "tests")
TEXTS = sorted(
    p
    for p in [*ROOT.glob("*.md"), *(p for room in ROOMS for p in ROOT.glob(f"{room}/**/*.md"))]
    if not {"_build", "node_modules"} & set(p.parts)
)
INSTALL_AND_DEMO = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/liteq demo"
FROM_THE_INDEX = re.compile(
    r"(pip|pipx|uv|uvx|uv tool|poetry) (install|add) (-\S+ )*[\"']?liteq([-_]tasks)?(?![\w.-]*(\.whl|/|@| @))\b"
)
TEST = "python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


# -- the promises of the README --------------------------------------------------------------------------------------


def test_the_readme_gives_one_line_to_try_it_and_one_to_test_it():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert INSTALL_AND_DEMO in lines
    assert TEST in lines


def test_ci_runs_the_test_line_of_the_readme_and_nothing_after_it():
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == TEST


def test_contributors_are_told_the_same_line():
    assert TEST in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()


# -- what the texts must not say -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_is_sent_to_the_package_index(path):
    """`liteq` there belongs to somebody else, and `liteq-tasks` is not there: a checkout or an address is."""
    assert not FROM_THE_INDEX.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("line", "from_there"),
    [
        ("pip install liteq", True),
        ("pip install -U 'liteq-tasks[solar]'", True),
        ("uv add liteq_tasks", True),
        ("pip install .", False),
        ("pip install ./liteq_tasks-0.1.0-py3-none-any.whl", False),
        ("pip install liteq_tasks-0.1.0-py3-none-any.whl", False),
        ("pip install 'liteq-tasks @ git+https://git.example.org/liteq.git'", False),
    ],
)
def test_the_rule_knows_the_package_index_from_a_checkout(line, from_there):
    assert bool(FROM_THE_INDEX.search(line)) is from_there


def test_no_message_of_the_code_sends_anybody_to_the_package_index():
    """An error names the library that is missing: it may be installed whatever liteq was installed from."""
    texts = {path: path.read_text(encoding="utf-8") for path in [*SOURCE.rglob("*.py"), *ROOT.glob("contrib/**/*.py")]}
    assert [path for path, text in texts.items() if FROM_THE_INDEX.search(text) or "liteq-tasks[" in text] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_has_words(path):
    """Sphinx fills `[](page)` with the page's title; every other reader of Markdown shows nothing."""
    assert re.findall(r"(?<!!)\[\s*\]\([^)]*\)", path.read_text(encoding="utf-8")) == []


def test_no_two_pages_make_the_same_folder():
    """A reader goes from one tutorial to the next, and `mkdir` of a folder that is there stops them."""
    made = re.findall(r"^\$ mkdir (\S+)", "\n".join(path.read_text("utf-8") for path in TEXTS), re.MULTILINE)
    assert len(made) > 3
    assert sorted(set(made)) == sorted(made)


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_path_of_somebodys_machine_is_in_the_texts(path):
    assert not re.search(r"/(work|home|root|Users)/|/tmp/[a-z]", path.read_text(encoding="utf-8"))


# -- the floors ------------------------------------------------------------------------------------------------------


def test_the_floors_hold():
    linted = run(sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache")
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_inside_nobody_imports_the_package_that_imports_all_of_them():
    """`from liteq import x` inside would be a circle through `liteq/__init__.py` that the floors do not show."""
    names = {path.stem for path in SOURCE.iterdir()}
    guilty = [f"{path}:{node.lineno}" for path, node in nodes(SOURCE) if imports_the_root(node, names) and inside(path)]
    assert guilty == []


def inside(path: Path) -> bool:
    return path.relative_to(SOURCE).parts[0] not in {"__init__.py", "__main__.py", "cli", "testing.py"}


def imports_the_root(node: ast.AST, names: set[str]) -> bool:
    match node:
        case ast.ImportFrom(module="liteq", names=imported):
            return any(alias.name not in names for alias in imported)
        case ast.Import(names=imported):
            return any(alias.name == "liteq" for alias in imported)
    return False


# -- the file is opened by SQLite alone ------------------------------------------------------------------------------

OF_THE_LOG = "log_check.py"  # reads the -wal, which bears no locks: they are on the database and on its -shm
OF_THE_KERNEL = {"'/proc/self/mounts'", "f'/proc/{pid}/comm'", "KERNEL_LIST"}


def test_the_storage_never_opens_a_file_with_pythons_own_io():
    """Closing such a handle on the database drops the locks of every connection of the process (POSIX)."""
    guilty = [
        f"{path}:{node.lineno}"
        for path, node in nodes(SOURCE / "storage")
        if opens_a_file(node) and path.name != OF_THE_LOG
    ]
    assert guilty == []


def opens_a_file(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="open"), args=[path, *_]):
            return ast.unparse(path) not in OF_THE_KERNEL
        case ast.Call(func=ast.Attribute(value=ast.Name(id="io" | "shutil"), attr=name)):
            return name not in {"disk_usage", "rmtree"}  # the second opens folders alone
        case ast.Call(func=ast.Attribute(attr="read_bytes" | "write_bytes" | "write_text")):
            return True
    return False


def nodes(folder: Path) -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


# -- what an import costs --------------------------------------------------------------------------------------------

HEAVY = {"pydantic", "pydantic_settings", "click", "rich", "asyncio", "multiprocessing"}


def test_importing_liteq_and_making_an_app_loads_nothing_heavy():
    """pydantic alone is 180 ms and 20 MiB, in the worker's parent and so in each child."""
    code = "import sys, json, liteq; liteq.LiteQ('x', broker='sqlite:///x.db'); print(json.dumps(sorted(sys.modules)))"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(json.loads(done.stdout)) == set()


# -- what is generated, and what is shipped --------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["reference", "surface", "engines", "engines_watch"])
def test_the_generated_pages_are_fresh(generator):
    checked = run(sys.executable, f"docs/generate/{generator}.py", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_package_of_contrib_is_shipped_and_typed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    found = {path.parent for path in ROOT.glob("contrib/*/__init__.py")}
    assert shipped == {"liteq"} | {path.relative_to(ROOT).as_posix() for path in found}
    assert all((path / "py.typed").exists() for path in [SOURCE, *found])


def test_each_extra_is_installed_by_itself_somewhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras.LOADS.keys() == {*project["optional-dependencies"], ""}
    assert {re.split(r"[<>=;\[]", one)[0] for one in project["dependencies"]} <= extras.CORE


def test_every_state_is_explained():
    text = (ROOT / "docs" / "explanation" / "states.md").read_text(encoding="utf-8")
    from liteq.states import State

    assert [state for state in State if f"`{state}`" not in text] == []
