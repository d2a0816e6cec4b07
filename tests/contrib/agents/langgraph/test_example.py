"""The example, as people start it: a graph whose processes are killed in its nodes, against a local fake model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[4] / "contrib" / "examples" / "langgraph_desk"


def test_the_desk_goes_on_after_kills_and_pays_for_no_call_twice(tmp_path: Path) -> None:
    env = {**os.environ, "DESK_DATA": str(tmp_path / "data"), "DESK_KILLS": "draft send"}
    command = [sys.executable, str(EXAMPLE / "run.py"), "--ask", "my parcel", "--yes"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-6:] == [
        "draft: we look after my parcel",
        "drafted",
        "it is fine: we look after my parcel",
        "approved",
        "sent",
        "paid so far: 2 calls",
    ]
    assert {path.name for path in (tmp_path / "data").glob("killed *")} == {"killed draft", "killed send"}
