"""The house in figures: files and lines of each room, the largest file and function, and what asks for another look.

python docs/generate/house.py             # the table, as docs/explanation/architecture.md has it
python docs/generate/house.py --at COMMIT # the same of another commit
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("liteq/", "contrib/liteq_")
# The figures of the whole, each by what a line must hold.
SIGNS = {
    "`app: Any`": re.compile(r"\bapp: Any\b"),
    "`noqa`": re.compile(r"# noqa\b"),
    "`type: ignore`": re.compile(r"# type: ignore\b"),
}
CLASSES = {"LiteQ": "liteq/app/base.py", "Task": "liteq/app/task.py", "Storage": "liteq/storage/storage.py"}
REPEATED = 8  # equal lines in a row in two places are repeated code


class Source(NamedTuple):
    """One module: its path in the repository, and its text."""

    path: str
    text: str


def sources(commit: str | None) -> Iterator[Source]:
    """The modules of the packages, as they are here or at `commit`."""
    if commit is None:
        for path in sorted(ROOT.rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(PACKAGES):
                yield Source(name, path.read_text(encoding="utf-8"))
        return
    kept = subprocess.run(["git", "archive", commit, "liteq", "contrib"], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(kept.stdout)) as archive:
        for member in archive:
            if member.name.startswith(PACKAGES) and member.name.endswith(".py"):
                file = archive.extractfile(member)
                assert file is not None
                yield Source(member.name, file.read().decode())


def room_of(path: str) -> str:
    """The first folder inside `liteq/`, or the package of contrib/."""
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else "liteq"


def fullest(found: list[Source]) -> str:
    flat = Counter(one.path.rpartition("/")[0] for one in found)
    room, n = flat.most_common(1)[0]
    return f"{n} (`{room}`)"


def largest(found: list[Source]) -> tuple[int, int]:
    """The most lines of a file, and those of a function."""
    functions = (
        (node.end_lineno or 0) - node.lineno + 1
        for one in found
        for node in ast.walk(ast.parse(one.text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return max(len(one.text.splitlines()) for one in found), max(functions)


def deferred(found: list[Source]) -> int:
    """The imports inside functions; one that is inside two counts once."""
    inside = {
        (one.path, inner.lineno)
        for one in found
        for node in ast.walk(ast.parse(one.text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    return len(inside)


def repeated(found: list[Source]) -> int:
    """The places of REPEATED equal lines, without imports and blank ones, that are elsewhere too."""
    seen: Counter[tuple[str, ...]] = Counter()
    for one in found:
        lines = [line.strip() for line in one.text.splitlines()]
        code = [line for line in lines if line and not line.startswith(("import ", "from ", "#", '"', ")"))]
        seen.update({tuple(code[n : n + REPEATED]) for n in range(len(code) - REPEATED + 1)})
    return sum(n - 1 for n in seen.values())


def members(found: list[Source], name: str, path: str) -> int:
    """The public methods and properties that a class states itself."""
    text = next((one.text for one in found if one.path == path), "")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            named = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            return len({one.name for one in named if not one.name.startswith("_")})
    return 0


def figures(found: list[Source]) -> dict[str, str]:
    """Each figure of the whole by its name."""
    file, function = largest(found)
    lines = [line for one in found for line in one.text.splitlines()]
    return {
        "files": f"{len(found):,}",
        "lines": f"{len(lines):,}",
        "modules in the fullest folder": fullest(found),
        "lines of the largest file": str(file),
        "lines of the largest function": str(function),
        **{sign: str(sum(1 for line in lines if pattern.search(line))) for sign, pattern in SIGNS.items()},
        "imports inside functions": str(deferred(found)),
        f"places of {REPEATED} repeated lines": str(repeated(found)),
        **{f"members of `{name}`": str(members(found, name, path)) for name, path in CLASSES.items()},
    }


def rooms(found: list[Source]) -> dict[str, tuple[int, int]]:
    """Files and lines of each room."""
    files = Counter(room_of(one.path) for one in found)
    lines: Counter[str] = Counter()
    for one in found:
        lines[room_of(one.path)] += len(one.text.splitlines())
    return {room: (files[room], lines[room]) for room in sorted(files)}


def table(found: list[Source]) -> str:
    """The figures of the whole and of each room, as two tables of Markdown."""
    whole = [f"| {name} | {value} |" for name, value in figures(found).items()]
    each = [f"| `{room}` | {files} | {lines:,} |" for room, (files, lines) in rooms(found).items()]
    return "\n".join(
        ["| figure | now |", "| --- | --- |", *whole, "", "| room | files | lines |", "| --- | --- | --- |", *each]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--at", metavar="COMMIT", help="of that commit instead of the files here")
    print(table(list(sources(parser.parse_args().at))))
