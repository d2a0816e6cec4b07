"""`python -m benchmarks`: the comparison with the peers, and the gate that liteq must pass on any machine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from benchmarks import environments, redis_server, report
from benchmarks import gate as gates
from benchmarks.contestants import CONTESTANTS, SCENARIOS
from benchmarks.runner import Run, take_turns

RESULTS = Path(__file__).parent / "results"


def names(known: dict[str, Any], default: str) -> Any:
    """A callback for a comma-separated list of names, each of which must be `known`."""

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
        chosen = [name.strip() for name in (value or default).split(",")]
        for name in chosen:
            if name not in known:
                raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
        return chosen

    return check


def sizes(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """`drain.tasks=1000` -> {"drain": {"tasks": 1000}}"""
    found: dict[str, dict[str, Any]] = {}
    for value in values:
        place, _, number = value.partition("=")
        scenario, _, name = place.partition(".")
        if scenario not in SCENARIOS or not name:
            raise click.BadParameter(f"{value!r} is not SCENARIO.SIZE=NUMBER")
        found.setdefault(scenario, {})[name] = orjson.loads(number)
    return found


DURABILITIES = dict.fromkeys(("none", "relaxed", "durable", "strict"))
ALL_PEERS = ",".join(CONTESTANTS)
ALL_SCENARIOS = ",".join(name for name, scenario in SCENARIOS.items() if not scenario.big)
set_sizes = click.option(
    "--set",
    "sized",
    multiple=True,
    metavar="SCENARIO.SIZE=N",
    callback=sizes,
    help="Another size, as drain.tasks=1000.",
)


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure liteq beside its peers. Without a command: `gate`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every `with`: servers and workers are stopped
    if context.invoked_subcommand is None:
        context.invoke(gate)


@main.command()
@click.option("--reps", default=3, show_default=True, help="Runs of each; they take turns.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@set_sizes
def gate(reps: int = 3, as_json: bool = False, sized: dict[str, dict[str, Any]] | None = None) -> None:
    """liteq against the ceiling and the bare loop, in about a minute. Exits with 1 where a floor is not held."""
    results = gates.run(reps, sizes=sized or {})
    click.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2).decode() if as_json else gates.table(results))
    broken = gates.broken(results)
    for sentence in broken:
        click.echo(sentence, err=True)
    raise SystemExit(1 if broken else 0)


@main.command()
@click.option("--peers", callback=names(CONTESTANTS, ALL_PEERS), help="Of: " + ", ".join(CONTESTANTS) + ".")
def setup(peers: list[str]) -> None:
    """Make the peers' environments, and say where and what."""
    for name in peers:
        environments.make(CONTESTANTS[name])
    for name, installed in environments.versions(peers).items():
        click.echo(f"{name:<19} {installed}")
    click.echo(f"in {environments.cache_dir()}")
    click.echo(redis_server.version() or redis_server.HOW_TO_GET)


@main.command()
@click.option("--peers", callback=names(CONTESTANTS, ALL_PEERS), help="Of: " + ", ".join(CONTESTANTS) + ".")
@click.option("--measures", callback=names(SCENARIOS, ALL_SCENARIOS), help="Of: " + ", ".join(SCENARIOS) + ".")
@click.option("--durability", callback=names(DURABILITIES, "relaxed"), help="Of: " + ", ".join(DURABILITIES) + ".")
@click.option("--reps", default=3, show_default=True, help="Runs of each; they take turns.")
@click.option("--big", is_flag=True, help="Also what takes minutes and gigabytes: a queue of 10 M.")
@click.option("--timeout", default=240.0, show_default=True, help="Seconds for one run of one contestant.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "local.json", show_default="results/local.json"
)
@click.option("--add", is_flag=True, help="Keep what the file has of other measures and contestants.")
@click.option("--plots/--no-plots", default=False, help="Draw PNG and SVG beside it; needs matplotlib.")
@set_sizes
def run(
    peers: list[str],
    measures: list[str],
    durability: list[str],
    reps: int,
    big: bool,
    timeout: float,
    out: Path,
    add: bool,
    plots: bool,
    sized: dict[str, dict[str, Any]],
) -> None:
    """Contestants in turn; JSON, a Markdown table beside it, and plots."""
    if big:
        measures = [*measures, *(name for name, scenario in SCENARIOS.items() if scenario.big and name not in measures)]
    old = report.load(out) if add and out.exists() else []
    redone = {(name, scenario, kind) for name in peers for scenario in measures for kind in durability}
    runs: list[Run] = [r for r in old if (r.contestant, r.scenario, r.durability) not in redone]
    session = 1 + max((r.session for r in old), default=0)
    for done in take_turns(
        peers, measures, durability, reps, sizes=sized, timeout_s=timeout, session=session, say=click.echo
    ):
        runs.append(done)
        report.save(out, runs)  # each time: an interrupted run keeps what it has
    _write(out, runs, plots)


@main.command(name="report")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--plots/--no-plots", default=False, help="Draw PNG and SVG beside it; needs matplotlib.")
def report_command(path: Path, plots: bool) -> None:
    """Make the table, and the plots, of a JSON file again."""
    _write(path, report.load(path), plots)


def _write(path: Path, runs: list[Run], plots: bool) -> None:
    table = report.markdown(runs, report.about(path))
    path.with_suffix(".md").write_text(table)
    click.echo(table)
    if plots:
        from benchmarks import plots as drawing

        for drawn in drawing.draw(runs, path.parent, path.stem):
            click.echo(f"drawn: {drawn}")


if __name__ == "__main__":
    main()
