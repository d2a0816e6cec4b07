"""Contestants in turn: each call of a measure in a process of its own, in the contestant's environment, in a folder
that is new, against a server that is new. A B A B: what the machine does meanwhile falls on all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS
from benchmarks.environments import python_of
from benchmarks.plan import Block, Call
from benchmarks.postgresql_server import postgresql_server
from benchmarks.redis_server import redis_server
from benchmarks.scenarios import SCENARIOS

__all__ = ["Run", "measure", "take_turns"]

# PYTHONDONTWRITEBYTECODE: pip has compiled the peers, and a checkout would be compiled anew in each of its processes.
OURS = ("LITEQ_", "CELERY_", "BENCH_", "PYTHONDONTWRITEBYTECODE")
ROOT = Path(__file__).resolve().parent.parent
STOP_S = 10.0


@dataclass
class Run:
    """One contestant, one scenario, once. `error`: why there are no figures; `not_offered`: it has no such thing."""

    contestant: str
    durability: str
    scenario: str
    rep: int
    figures: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    not_offered: bool = False
    session: int = 1  # one call of the tool: only what ran in the same one may be compared
    took_s: float = 0.0  # with the making of its folder and the stop of its workers; for the estimate of the next

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def take_turns(
    blocks: Iterable[Block],
    *,
    sizes: dict[str, dict[str, Any]] | None = None,
    timeout_s: float | None = None,
    session: int = 1,
    refused: set[tuple[str, str]] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Block, list[Run]]]:
    """Block by block, all runs of each. `refused`: what a contestant has said it does not offer, as (contestant,
    scenario); it is not asked again."""
    refused = set() if refused is None else refused
    for block in blocks:
        runs = []
        for call in block.calls:
            if (call.contestant, call.scenario) in refused:
                continue
            run = measure(call, block.rep, sizes=sizes or {}, timeout_s=timeout_s)
            run.session = session
            if run.not_offered:
                refused.add((call.contestant, call.scenario))
            say(_line(run))
            runs.append(run)
        yield block, runs


def measure(
    call: Call, rep: int = 0, *, sizes: dict[str, dict[str, Any]] | None = None, timeout_s: float | None = None
) -> Run:
    """Run one scenario once. Never raises for what the contestant does: the run says it."""
    contestant, scenario = CONTESTANTS[call.contestant], SCENARIOS[call.scenario]
    run, before = Run(call.contestant, call.durability, call.scenario, rep), time.monotonic()
    asked = {
        **contestant.sizes(scenario.measure, call.durability),
        **scenario.sizes,
        **(sizes or {}).get(call.scenario, {}),
    }
    with tempfile.TemporaryDirectory(prefix="liteq-bench-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(OURS)},
            "PYTHONPATH": str(ROOT),
            # As after activating its environment: some workers start `python` by name.
            "PATH": f"{Path(python_of(contestant)).parent}{os.pathsep}{os.environ['PATH']}",
            "BENCH_FOLDER": folder,
            "BENCH_SLOTS": f"{folder}/slots",
            "BENCH_DURABILITY": call.durability,
            "BENCH_OPTIONS": json.dumps(contestant.options),
        }
        if contestant.redis:
            url, pid = stack.enter_context(redis_server(Path(folder), call.durability))
            environment.update(BENCH_REDIS=url, BENCH_SERVER=str(pid))
        if contestant.postgresql:
            environment["BENCH_POSTGRESQL"] = stack.enter_context(postgresql_server(call.durability))
        arguments = [contestant.adapter, scenario.measure, json.dumps(asked)]
        _drive(run, arguments, environment, timeout_s or scenario.timeout_s)
    run.took_s = round(time.monotonic() - before, 2)
    return run


def _drive(run: Run, arguments: list[str], environment: dict[str, str], timeout_s: float) -> None:
    command = [python_of(CONTESTANTS[run.contestant]), "-m", "benchmarks.driver", *arguments]
    folder = Path(environment["BENCH_FOLDER"])
    with (folder / "driver.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        code = process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _stop(process, folder)
        run.error = f"not done after {timeout_s:.0f} s"
        return
    except BaseException:  # the tool itself is to end
        _stop(process, folder)
        raise
    outcome = folder / "outcome.json"
    if code or not outcome.exists():
        run.error = (folder / "driver.log").read_text(errors="replace")[-3000:] or f"exit code {code}"
        return
    said = json.loads(outcome.read_bytes())
    run.figures, run.error = said.get("figures", {}), said.get("error", "")
    run.not_offered = "not_offered" in said


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    """TERM: the driver's `with` blocks stop its workers. Where it does not listen: KILL, and its workers' groups."""
    process.terminate()
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        groups = folder / "groups"
        for group in groups.read_text().split() if groups.exists() else []:
            try:
                os.killpg(int(group), signal.SIGKILL)
            except ProcessLookupError:
                pass


def _line(run: Run) -> str:
    head = f"{run.scenario:<13} {run.contestant:<19} {run.durability:<8} {run.took_s:>5.1f} s "
    if run.error:
        return f"{head} failed: {run.error.strip().splitlines()[-1][:100]}"
    if run.not_offered:
        return f"{head} not offered"
    return head + "  ".join(f" {k} {v:,.3f}" for k, v in run.figures.items() if isinstance(v, int | float))
