"""The files of the installed wheel, beside those that git has: templates, migrations, licences and all.

python tests/shipped.py     in the environment that has the wheel; `tox -e package`
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Name the files of the sources that the wheel lacks; 1 where there is one."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    ours = {path.removeprefix("contrib/") for path in listed if path.startswith(("liteq/", "contrib/liteq_"))}
    there = {path.as_posix() for path in files("liteq-tasks") or ()}
    lacking = sorted(ours - there)
    print(f"{len(ours)} files of the sources; the wheel lacks: {', '.join(lacking) or 'none'}")
    return 1 if lacking or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
