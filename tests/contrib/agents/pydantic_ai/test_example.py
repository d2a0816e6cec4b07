"""contrib/examples/pydantic_agent, as people start it: a server with a bill, a worker, a question, a refund."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[4] / "contrib" / "examples" / "pydantic_agent" / "run.py"


@pytest.mark.skipif(sys.platform == "win32", reason="a process group")
def test_the_example_answers_asks_and_is_paid_for_twice(tmp_path: Path) -> None:
    env = {**os.environ, "SUPPORT_DATA": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(RUN), "--ask", "Please refund my order"]
    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150, check=True).stdout
    answer = "order 7 of customer 42 has arrived; order 8 of customer 42 has arrived; 20 of order 7 are on their way"
    assert said.count(answer) == 2, "as a stream, and as the result"
    assert "paid for this: 2 requests" in said
    assert [line.split()[:2] for line in (tmp_path / "done").read_text().splitlines()][-1] == ["refund", "7"]
