"""A virtual environment for each peer, with pinned versions, under a cache directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, LITEQ, PYPROJECT, Contestant

__all__ = ["cache_dir", "checkout", "make", "python_of", "versions"]


def cache_dir() -> Path:
    """BENCH_CACHE, else `liteq-benchmarks` in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(os.environ.get("BENCH_CACHE", f"{home}/liteq-benchmarks"))


def make(contestant: Contestant) -> None:
    """Make the environment of `contestant` unless the one that is there has what it requires.

    Raises FileNotFoundError where its Python is not installed.
    """
    folder = cache_dir() / contestant.environment
    mark = folder / "requires.txt"
    packages = list(contestant.requires)
    if contestant.checkout:  # as it is: a change of its code needs no new environment
        packages += [*LITEQ, "-e", str(PYPROJECT.parent)]
    wanted = "\n".join(packages)
    if not contestant.requires or (mark.exists() and mark.read_text() == wanted):
        return
    python = _installed(contestant.python) if contestant.python else sys.executable
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *packages], check=True)
    mark.write_text(wanted)


def _installed(name: str) -> str:
    """The path of the Python `name`. Raises FileNotFoundError, also where pyenv has the name and does not run it."""
    python = shutil.which(name)
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        raise FileNotFoundError(f"{name} is not there")
    return python


def python_of(contestant: Contestant) -> str:
    """The Python that runs it. Raises FileNotFoundError when its environment has not been made."""
    if not contestant.requires:
        return sys.executable
    python = cache_dir() / contestant.environment / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"{python} is not there: run `python -m benchmarks setup`")
    return str(python)


def versions(names: list[str]) -> dict[str, str]:
    """The packages installed for each contestant, as pip says."""
    found: dict[str, str] = {}
    for name in names:
        contestant = CONTESTANTS[name]
        if not contestant.requires:
            found[name] = checkout()
            continue
        said = subprocess.run(
            [python_of(contestant), "-m", "pip", "freeze", "--disable-pip-version-check"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        lines = [line for line in said.stdout.splitlines() if not line.startswith(("#", "-e"))]
        found[name] = ", ".join([*lines, checkout()] if contestant.checkout else lines)
    return found


def checkout() -> str:
    """The commit that is measured, as git names it; of a copy without a history only that it is one."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"this checkout, {said.stdout.strip() or 'without a history'}"
