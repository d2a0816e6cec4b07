"""A test that needs a library is run where that library is: an environment of `tox` alone has it."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOX = configparser.ConfigParser(interpolation=None)
TOX.read(ROOT / "tox.ini", encoding="utf-8")
# Libraries whose package has another name, or is brought along by the one that is named here.
PACKAGES = {
    "agents": "openai-agents", "compression.zstd": "backports.zstd", "pydantic": "genai-prices", "yaml": "pyyaml",
    "pydantic_ai": "pydantic-ai-slim",
}  # fmt: skip
SUBPACKAGES = {"langgraph.checkpoint.conformance"}  # a package of their own


class Environment(NamedTuple):
    packages: set[str]
    paths: list[str]  # what its pytest is given
    without: list[str]

    def runs(self, file: str, function: str) -> bool:
        """Whether it runs this function of a file, or where that is "" anything of it."""
        if any(file.startswith(f"{path}/") for path in self.without):
            return False
        return any(path in (file, f"{file}::{function}") or file.startswith(f"{path}/") for path in self.paths)


def names(requirements: str) -> set[str]:
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in requirements.splitlines() if line}


def packages(group: str) -> set[str]:
    """The packages of a dependency group, and of the groups in it."""
    found = set()
    for one in PROJECT["dependency-groups"][group]:
        found |= packages(one["include-group"]) if isinstance(one, dict) else names(one)
    return found


def environments() -> Iterator[Environment]:
    """Those environments of `tox` alone that run tests."""
    for env in TOX["tox"]["env_list"].split(", "):
        shared = f"testenv:{re.sub(r'-[0-9.]+$', '', env)}{{"
        section = next((TOX[one] for one in TOX if one == f"testenv:{env}" or one.startswith(shared)), TOX["testenv"])
        words = section["commands"].replace("{posargs:", "").replace("}", " ").split()
        if "pytest" not in words:
            continue
        there = names(section.get("deps", ""))
        for group in section.get("dependency_groups", "").split():
            there |= packages(group)
        for extra in section.get("extras", "").split():
            there |= names("\n".join(PROJECT["project"]["optional-dependencies"][extra]))
        without = [words[at + 1] for at, word in enumerate(words) if word == "--ignore"]
        paths = [word for word in words if word.startswith("tests/") and word not in without]
        yield Environment(there, paths or ["tests"], without)


ENVIRONMENTS = list(environments())


def package_of(library: str) -> str:
    top = library if library in SUBPACKAGES or library in PACKAGES else library.partition(".")[0]
    return PACKAGES.get(top, re.sub(r"[._]", "-", top))


def of_folder(path: Path) -> set[str]:
    """The packages without which the conftest.py beside a test leaves the whole folder out."""
    beside = path.with_name("conftest.py")
    text = beside.read_text(encoding="utf-8") if beside.exists() else ""
    whole = re.search(r'^collect_ignore_glob = .* else \["test_\*\.py"\]$', text, re.MULTILINE)
    return {package_of(one) for one in re.findall(r'find_spec\("([\w.]+)"\)', text)} if whole else set()


def asked() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Where a test is skipped for want of a library: its file, the function ("" for the module), what it needs."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {id(node): one.name for one in tree.body if isinstance(one, ast.FunctionDef) for node in ast.walk(one)}
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Attribute(ast.Name("pytest"), "importorskip"), [ast.Constant(str(library)), *_]):
                    needed = frozenset({package_of(library), *of_folder(path)})
                    yield path.relative_to(ROOT).as_posix(), inside.get(id(node), ""), needed
                case _:
                    pass


@pytest.mark.parametrize(
    ("file", "function", "needed"),
    [pytest.param(*one, id=f"{one[0].removeprefix('tests/')}-{one[1]}-{'+'.join(sorted(one[2]))}") for one in asked()],
)
def test_a_test_that_needs_a_library_is_run_where_that_library_is(
    file: str, function: str, needed: frozenset[str]
) -> None:
    assert any(needed <= one.packages and one.runs(file, function) for one in ENVIRONMENTS), (
        f"no environment of `tox` alone runs {file} {function} and has {', '.join(sorted(needed))}: "
        "name the test in one that has them (tox.ini), or add the package to its group (pyproject.toml)"
    )
