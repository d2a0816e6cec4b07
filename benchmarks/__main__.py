"""`python -m benchmarks`: the comparison with the peers, and the gate that liteq must pass on any machine."""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import orjson

from benchmarks import environments, estimate, pages, plan, postgresql_server, redis_server, report
from benchmarks import gate as gates
from benchmarks.contestants import CONTESTANTS
from benchmarks.results import Results
from benchmarks.runner import take_turns
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import CELERY_TARGETS, TARGETS

RESULTS = Path(__file__).parent / "results"
PUBLISHED = RESULTS / "reference"


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
        try:
            if scenario not in SCENARIOS or not name:
                raise ValueError(value)
            found.setdefault(scenario, {})[name] = orjson.loads(number)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not SCENARIO.SIZE=NUMBER") from None
    return found


DURABILITIES = dict.fromkeys(("none", "relaxed", "durable", "strict"))
ALL_PEERS = ",".join(CONTESTANTS)
ALL_SCENARIOS = ",".join(name for name, scenario in SCENARIOS.items() if not scenario.big)
folder = click.Path(path_type=Path, file_okay=False)
set_sizes = click.option(
    "--set",
    "sized",
    multiple=True,
    metavar="SCENARIO.SIZE=N",
    callback=sizes,
    help="Another size, as drain.tasks=1000.",
)
with_plots = click.option("--plots/--no-plots", default=False, help="Draw PNG and SVG beside it; needs matplotlib.")


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure liteq beside its peers. Without a command: `gate`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every `with`: servers and workers are stopped
    if context.invoked_subcommand is None:
        context.invoke(gate)


@main.command()
@click.option("--reps", default=2, show_default=True, help="Runs of each; they take turns.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@set_sizes
def gate(reps: int = 2, as_json: bool = False, sized: dict[str, dict[str, Any]] | None = None) -> None:
    """liteq against the ceiling and the bare loop, in about a minute. Exits with 1 where a floor is not held."""
    try:
        rows = gates.run(reps, sizes=sized or {})
    except RuntimeError as error:
        raise click.ClickException(f"a run failed, so nothing can be said: {error}") from None
    click.echo(orjson.dumps(gates.document(rows), option=orjson.OPT_INDENT_2) if as_json else gates.table(rows))
    broken = gates.broken(rows)
    for sentence in broken:
        click.echo(sentence, err=True)
    raise SystemExit(1 if broken else 0)


@main.command()
@click.option("--peers", callback=names(CONTESTANTS, ALL_PEERS), help="Of: " + ", ".join(CONTESTANTS) + ".")
def setup(peers: list[str]) -> None:
    """Make the peers' environments, and say where and what."""
    made = []
    for name in peers:
        try:
            environments.make(CONTESTANTS[name])
            made.append(name)
        except FileNotFoundError as error:
            click.echo(f"{name:<19} {error}")
    for name, installed in environments.versions(made).items():
        click.echo(f"{name:<19} {installed}")
    click.echo(f"in {environments.cache_dir()}")
    click.echo(redis_server.version() or redis_server.HOW_TO_GET)
    click.echo(postgresql_server.version() or postgresql_server.HOW_TO_GET)


@main.command()
@click.option("--all", "all_of_it", is_flag=True, help="All that the published tables and pictures are made of.")
@click.option("--celery", is_flag=True, help="Celery on a liteq file beside Celery on Redis.")
@click.option("--peers", callback=names(CONTESTANTS, ALL_PEERS), help="Of: " + ", ".join(CONTESTANTS) + ".")
@click.option("--measures", callback=names(SCENARIOS, ALL_SCENARIOS), help="Of: " + ", ".join(SCENARIOS) + ".")
@click.option("--durability", callback=names(DURABILITIES, "relaxed"), help="Of: " + ", ".join(DURABILITIES) + ".")
@click.option("--reps", default=2, show_default=True, help="Runs of each; they take turns.")
@click.option("--big", is_flag=True, help="With --all: also what takes many minutes and gigabytes, as 10 M tasks.")
@click.option("--timeout", type=float, help="Seconds for one run of one contestant, instead of the measure's own.")
@click.option("--out", type=folder, default=RESULTS / "local", show_default="benchmarks/results/local")
@click.option("--again", is_flag=True, help="Measure anew what the folder has already.")
@with_plots
@set_sizes
def run(
    all_of_it: bool,
    celery: bool,
    peers: list[str],
    measures: list[str],
    durability: list[str],
    reps: int,
    big: bool,
    timeout: float | None,
    out: Path,
    again: bool,
    plots: bool,
    sized: dict[str, dict[str, Any]],
) -> None:
    """Contestants in turn, into a folder: JSON, Markdown, plots. What the folder has is not measured again, so an
    interrupted run goes on where it was."""
    if all_of_it:
        chosen = plan.everything(reps, big=big)
    elif celery:
        chosen = plan.beside_celery(reps)
    else:
        chosen = plan.chosen(peers, measures, durability, reps)
    blocks = list(chosen)
    results = Results.load(out)
    todo = blocks if again else [block for block in blocks if not results.has(block)]
    known = estimate.known([Results.load(PUBLISHED), results])
    # Who offers something is asked once more by an --again, and by a newer adapter.
    refused = set() if again else results.refused()
    click.echo(f"{len(blocks) - len(todo)} of {len(blocks)} blocks are there; {estimate.words(todo, known, refused)}")
    if todo:
        session = results.begin(sorted({call.contestant for block in todo for call in block.calls}))
        turns = take_turns(todo, sizes=sized, timeout_s=timeout, session=session, refused=refused, say=click.echo)
        for done, (block, runs) in enumerate(turns, 1):
            results.replace(block, runs)
            results.save(out)  # each time: an interrupted run keeps what it has
            click.echo(f"-- {block.name} {block.rep + 1} is saved; {estimate.words(todo[done:], known, refused)}")
    _write(out, results, plots)


@main.command(name="report")
@click.argument("path", type=click.Path(exists=True, path_type=Path, file_okay=False), default=PUBLISHED)
@click.option("--docs", is_flag=True, help="Also the tables and pictures of docs/explanation/performance.md.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where the page does not say what the runs do.")
@with_plots
def report_command(path: Path, docs: bool, check: bool, plots: bool) -> None:
    """Make the tables, and the plots, of a folder of results again."""
    results = Results.load(path)
    if not results.runs:
        raise click.ClickException(f"{path} has no results.json with runs: `python -m benchmarks run --out {path}`")
    if check:
        stale = pages.stale(results)
        for page in stale:
            click.echo(f"{page} is not what the results say: `python -m benchmarks report --docs`", err=True)
        raise SystemExit(1 if stale else 0)
    _write(path, results, plots)
    if docs:
        for written in pages.write(results):
            click.echo(f"written: {written}")
        if find_spec("matplotlib"):
            _draw(results, pages.IMAGES, "performance", ("svg",))
        else:
            click.echo("the pictures stay as they are: they need matplotlib")


@main.command()
@click.option("--rows", default=1_000_000, show_default=True, type=click.IntRange(min=1_000), help="Rows of the file.")
@click.option(
    "--file", "file", type=click.Path(path_type=Path, dir_okay=False), help="Keep the file, and use it again."
)
def reads(rows: int, file: Path | None) -> None:
    """The CPU time of each read of the pages, on a file of many rows. 10 million rows take 4 GB and some minutes."""
    from benchmarks import reads as reading

    with TemporaryDirectory() as folder:
        path = file or Path(folder) / "reads.db"
        app = reading.app_of(path.absolute())
        if not path.exists():
            reading.fill(app, rows, say=lambda text: click.echo(text, err=True))
        click.echo(reading.table(rows, reading.measure(app, rows)))
        app.close()


def _write(path: Path, results: Results, plots: bool) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / "results.md").write_text(report.markdown(results))
    has_liteq = any(run.contestant == "liteq" for run in results.runs)
    click.echo(pages.targets(results, TARGETS if has_liteq else CELERY_TARGETS))
    click.echo(f"tables: {path / 'results.md'}")
    if plots:
        _draw(results, path, "plot", ("png", "svg"))


def _draw(results: Results, path: Path, stem: str, kinds: tuple[str, ...]) -> None:
    from benchmarks import plots as drawing

    for drawn in drawing.draw(results, path, stem, kinds):
        click.echo(f"drawn: {drawn}")


if __name__ == "__main__":
    main()
