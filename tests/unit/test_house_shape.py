"""The shape of the house: how many files a room has, how long they are, and how their texts begin."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "liteq"
SHIPPED = [SOURCE, *sorted((ROOT / "contrib").glob("liteq_*"))]
WRITTEN = [*SHIPPED, *(ROOT / name for name in ("benchmarks", "contrib/examples", "docs/generate", "tests"))]

# The most modules that may stand flat in a folder: a room that is full asks for a room inside it.
MODULES = 16
FEWER = {"liteq": 9, "liteq/worker": 12, "liteq/storage": 10}
# Rooms that are fuller: each may only shrink, and its number with it. `utils` is a list, each file by itself.
MORE = {
    "contrib/liteq_dashboard/pages": 22,
    "contrib/liteq_django": 28,
    "contrib/liteq_flow/running": 18,
    "contrib/liteq_kombu": 18,
    "contrib/liteq_mcp": 24,
    "contrib/liteq_postgres": 21,
    "liteq/execution": 19,
    "liteq/sending": 24,
    "liteq/utils": 20,
}
LINES_OF_A_FILE = 400
# At the begin of a line, as a docstring stands; by text, since to parse all that is written takes half a minute.
MANNERED = re.compile(r'^[ ]*"""(?:What|Who|Whoever|Whatever)\b.*', re.MULTILINE)
LINES_OF_A_FUNCTION = 50


def files(folders: list[Path] = SHIPPED) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def trees(folders: list[Path] = SHIPPED) -> Iterator[tuple[Path, ast.Module]]:
    for path in files(folders):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_a_room_has_no_more_modules_than_a_newcomer_can_take_in():
    flat = Counter(name(path.parent) for path in files())
    allowed = dict.fromkeys(flat, MODULES) | FEWER | MORE
    assert {room: n for room, n in flat.items() if n > allowed[room]} == {}
    assert {room: flat[room] for room, n in MORE.items() if flat[room] < n} == {}, "smaller now: so is its number"


def test_a_file_ends_before_it_holds_two_rooms():
    long = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    assert {path: lines for path, lines in long.items() if lines > LINES_OF_A_FILE} == {}


def test_a_function_does_one_thing():
    long = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_a_docstring_begins_with_a_noun_or_a_verb():
    """`What ...` and `Who ...` stand for a thing or a caller that has a name."""
    mannered = [
        f"{name(path)}: {found[0].strip()}"
        for path in files(WRITTEN)
        for found in MANNERED.finditer(path.read_text(encoding="utf-8"))
    ]
    assert mannered == []


def test_an_app_has_a_type():
    """`Any` hides from a reader, and from the type checker, what an app can be asked for."""
    untyped = [
        f"{name(path)}:{number}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\bapp: Any\b", line)
    ]
    assert untyped == []
