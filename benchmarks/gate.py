"""What must hold on any machine: liteq beside the ceiling and the bare loop, as ratios inside one run."""

from __future__ import annotations

from typing import Any

from benchmarks.report import ratios, values
from benchmarks.runner import Run, take_turns

__all__ = ["FLOORS", "broken", "run", "table"]

# Beside what, in which scenario (of liteq: which figure), and the bound: at least (>=) or at most (<=).
FLOORS: list[tuple[str, str, str, str, float]] = [
    ("drain", "tasks_per_s", "ceiling", ">=", 0.15),
    ("drain", "tasks_per_s", "bare", ">=", 0.50),
    ("enqueue", "tasks_per_s", "bare", ">=", 0.15),
    ("drain", "lost", "", "<=", 0),
    ("drain", "duplicated", "", "<=", 0),
    ("latency", "p50_ms", "", "<=", 2.0),
    ("chord-1000", "seconds", "", "<=", 0.5),
]
PLAN = [("drain", ["ceiling", "liteq", "bare"]), ("enqueue", ["liteq", "bare"]), ("latency", ["liteq", "bare"]),
        ("chord-1000", ["liteq"])]  # fmt: skip

Results = dict[str, dict[str, Any]]


def run(reps: int, *, sizes: dict[str, dict[str, Any]] | None = None) -> Results:
    """Take turns; of each floor, the figure or ratio of liteq (median), and the bound. Raises where a run failed."""
    runs: list[Run] = []
    for scenario, contestants in PLAN:
        for done in take_turns(contestants, [scenario], ["relaxed"], reps, sizes=sizes):
            if done.error:
                raise RuntimeError(f"{done.contestant}, {scenario}: {done.error}")
            runs.append(done)
    results: Results = {}
    for scenario, figure, beside, sign, bound in FLOORS:
        name = f"{scenario} {figure}" + (f" / {beside}" if beside else "")
        median, spread = (
            ratios(runs, scenario, figure, "liteq", beside) if beside else values(runs, scenario, figure, "liteq")
        )
        results[name] = {"value": median, "spread": spread, "sign": sign, "bound": bound}
        if beside:
            results[name]["liteq"] = values(runs, scenario, figure, "liteq")[0]
            results[name][beside] = values(runs, scenario, figure, beside)[0]
    return results


def broken(results: Results) -> list[str]:
    """A sentence for each floor that is not held."""
    found = []
    for name, row in results.items():
        held = row["value"] >= row["bound"] if row["sign"] == ">=" else row["value"] <= row["bound"]
        if not held:
            found.append(f"not held: {name} is {row['value']:.3f}, asked {row['sign']} {row['bound']}")
    return found


def table(results: Results) -> str:
    """For people."""
    lines = []
    for name, row in results.items():
        absolute = "  ".join(f"{k} {row[k]:,.0f}/s" for k in ("liteq", "ceiling", "bare") if k in row)
        low, high = row["spread"]
        lines.append(
            f"{name:<32} {row['value']:>8.3f}  ({low:.3f} - {high:.3f})  {row['sign']} {row['bound']:<5} {absolute}"
        )
    return "\n".join(lines)
