"""One measure of one contestant: run by the tool with the Python of the contestant's environment.

    python -m benchmarks.driver ADAPTER MEASURE '{"tasks": 1000}'        writes outcome.json

The surroundings come from the environment, see benchmarks.peers.surroundings.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.connection_measures import CONNECTION_MEASURES
from benchmarks.http_measures import HTTP_MEASURES
from benchmarks.limit_measures import LIMIT_MEASURES
from benchmarks.measures import MEASURES, Bench
from benchmarks.processes import NotOffered
from benchmarks.slots import Slots
from benchmarks.workflow_measures import WORKFLOW_MEASURES

SLOTS = 200_000


def module_of(adapter: str, measure: str) -> str:
    """The module of an adapter. For workflows, limits, many connections and HTTP it may have one of its own: no other
    measure pays for them then."""
    own = {
        **dict.fromkeys(WORKFLOW_MEASURES, "flows"),
        **dict.fromkeys(LIMIT_MEASURES, "limits"),
        **dict.fromkeys(CONNECTION_MEASURES, "connections"),
        **dict.fromkeys(HTTP_MEASURES, "http"),
    }
    module = f"benchmarks.peers.{adapter}"
    has_own = measure in own and importlib.util.find_spec(f"{module}_{own[measure]}") is not None
    return f"{module}_{own[measure]}" if has_own else module


def run(adapter: str, measure: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """The figures, or why there are none."""
    folder = Path(os.environ["BENCH_FOLDER"])
    slots = Slots(folder / "slots", max([SLOTS, *(n for n in sizes.values() if isinstance(n, int))]) + 1)
    os.environ["BENCH_SLOTS"] = str(folder / "slots")
    peer = importlib.import_module(module_of(adapter, measure))
    own = getattr(peer, f"own_{measure}", None)
    try:
        if own is not None:
            return {"figures": own(**sizes)}
        server = os.environ.get("BENCH_SERVER")
        return {"figures": MEASURES[measure](Bench(peer, folder, slots, int(server) if server else None), **sizes)}
    except NotOffered as error:
        return {"not_offered": str(error)}
    except Exception:  # noqa: BLE001 - whatever a contestant raises is a finding
        return {"error": traceback.format_exc()[-3000:]}


def _terminate(signum: int, frame: object) -> None:
    sys.exit(1)  # through every `with`: the workers are stopped


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    outcome = run(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
    Path(os.environ["BENCH_FOLDER"], "outcome.json").write_text(json.dumps(outcome))
