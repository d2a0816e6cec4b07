"""`python -m benchmarks`: run measures in turn, several times, and print medians, ratios and floors."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import click
import orjson

from benchmarks.measures import MEASURES

# What must hold whatever the machine: (measure, figure, bound, whether the bound is the lowest allowed).
FLOORS = [
    ("drain", "share_of_ceiling", 0.15, True),
    ("drain", "lost", 0, False),
    ("latency", "p50_ms", 2.0, False),
    ("chord", "seconds", 0.5, False),
]


def medians(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over several runs."""
    runs = list(runs)
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


@click.command()
@click.option("--measures", default="ceiling,drain,latency,chord", show_default=True, help=f"Of {', '.join(MEASURES)}.")
@click.option("--reps", default=3, show_default=True, help="Runs of each measure; they take turns.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(measures: str, reps: int, as_json: bool) -> None:
    """Measure liteq on this machine. Exits with 1 where a floor is not held."""
    names = measures.split(",")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(reps):
        for name in names:
            runs[name].append(MEASURES[name]())
    results = {name: medians(figures) for name, figures in runs.items()}
    if "drain" in results and "ceiling" in results:
        shares = [d["tasks_per_s"] / c["tasks_per_s"] for d, c in zip(runs["drain"], runs["ceiling"], strict=True)]
        results["drain"]["share_of_ceiling"] = statistics.median(shares)
    if as_json:
        click.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2).decode())
    else:
        for name, figures in results.items():
            click.echo(f"{name:<10}" + "  ".join(f"{k} {v:,.3f}" for k, v in figures.items()))
    broken = [floor for floor in FLOORS if not _holds(floor, results)]
    for measure, figure, bound, _ in broken:
        click.echo(f"below the floor: {measure} {figure} = {results[measure][figure]:.3f}, bound {bound}", err=True)
    raise SystemExit(1 if broken else 0)


def _holds(floor: tuple[str, str, float, bool], results: dict[str, dict[str, float]]) -> bool:
    measure, figure, bound, lowest = floor
    value = results.get(measure, {}).get(figure)
    return value is None or (value >= bound if lowest else value <= bound)


if __name__ == "__main__":
    main()
