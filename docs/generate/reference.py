"""Write the reference pages that are made from code: states, settings, commands.

    python docs/generate/reference.py            write them
    python docs/generate/reference.py --check    write nothing; exit 1 when a committed page is stale

A page comes from one table in the code: `liteq.states.LEGAL`, `liteq.settings.SETTINGS`, the click group `liteq.cli`.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from liteq.cli import main as liteq_command
from liteq.cli.parts.exits import MEANING as MEANING_OF_EXIT
from liteq.metrics.names import CELERY, FLOWER, LITEQ, Metric, series
from liteq.settings import NO_EFFECT, SETTINGS, WHY_NO_EFFECT, Setting
from liteq.states import LEGAL, State, celery_state

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path("docs", "reference")
NOTE = "<!-- Made by docs/generate/reference.py; edit the code it is made from, then run it. -->\n"


def main(argv: list[str] | None = None) -> int:
    """Write or check every page; the exit code."""
    parser = argparse.ArgumentParser(description="Make the reference pages from code.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when a page is stale")
    only_check = parser.parse_args(argv).check
    stale = [path for path, text in pages().items() if differs(path, text, show=only_check)]
    if only_check:
        return 1 if stale else 0
    for path in stale:
        (ROOT / path).write_text(pages()[path], encoding="utf-8")
        print(f"wrote {path}")
    return 0


def pages() -> dict[Path, str]:
    """The text of each generated page."""
    makers: dict[str, Callable[[], str]] = {
        "states.svg": states_diagram,
        "states.md": states_page,
        "settings.md": settings_page,
        "cli.md": cli_page,
        "metrics.md": metrics_page,
    }
    return {REFERENCE / name: make() for name, make in makers.items()}


def differs(path: Path, text: str, *, show: bool, generator: str = "reference") -> bool:
    """Whether the file at `path` does not hold `text`; `show` prints how."""
    file = ROOT / path
    found = file.read_text(encoding="utf-8") if file.exists() else ""
    if found == text:
        return False
    if show:
        lines = difflib.unified_diff(
            found.splitlines(), text.splitlines(), str(path), "made from the code", lineterm=""
        )
        print(*lines, f"stale: run `python docs/generate/{generator}.py`", sep="\n")
    return True


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table, its head first."""
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


# -- states ----------------------------------------------------------------------------------------------------------

BOX_WIDTH, BOX_HEIGHT, PITCH, MIDDLE, MARGIN = 150, 32, 62, 330, 30
PORT = 4.0  # pixels between two arrows on one side of a box
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#bc8f00", "#17a2b8", "#7f7f7f")


def states_diagram() -> str:
    """An arc diagram of LEGAL: the states from top to bottom, ways down on the right, ways back up on the left."""
    order = list(State)
    height = MARGIN + PITCH * len(order)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * MIDDLE} {height}" role="img" font-size="14">',
        "<title>The states of a message</title>",
        "<style>text { font-family: sans-serif; fill: #222; text-anchor: middle }</style>",
        *(marker(i) for i in range(len(order))),
    ]
    parts += [arc(order, source, target) for source in order for target in order if target in LEGAL[source]]
    for i, state in enumerate(order):
        x, y = MIDDLE - BOX_WIDTH / 2, centre(i) - BOX_HEIGHT / 2
        final = not LEGAL[state]
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="#fff" '
            f'stroke="{COLOURS[i]}" stroke-width="{3 if final else 1.5:g}"/>'
        )
        parts.append(f'<text x="{MIDDLE}" y="{centre(i) + 5:g}">{state.value}</text>')
    return "\n".join([*parts, "</svg>\n"])


def marker(i: int) -> str:
    """The arrow head in the colour of the `i`-th state."""
    return (
        f'<marker id="to{i}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{COLOURS[i]}"/></marker>'
    )


def arc(order: list[State], source: State, target: State) -> str:
    """One transition, in the colour of the state it leaves; the further it goes, the wider it swings."""
    a, b = order.index(source), order.index(target)
    right = b > a
    side = 1 if right else -1
    x = MIDDLE + side * BOX_WIDTH / 2
    swing = x + side * (18 + 28 * abs(b - a))
    y1, y2 = centre(a) + port(order, a, b, right=right), centre(b) + port(order, b, a, right=right)
    return (
        f'<path d="M{x:g} {y1:g}C{swing:g} {y1:g} {swing:g} {y2:g} {x:g} {y2:g}" fill="none" '
        f'stroke="{COLOURS[a]}" stroke-width="1.3" marker-end="url(#to{a})"><title>{source} to {target}</title></path>'
    )


def port(order: list[State], here: int, there: int, *, right: bool) -> float:
    """How far from the middle of box `here` the arc between it and `there` touches it, so that arcs nest."""
    touching = [other for other in range(len(order)) if has_arc(order, here, other, right=right)]
    touching.sort(key=lambda other: (other > here, -other))
    return (touching.index(there) - (len(touching) - 1) / 2) * PORT


def has_arc(order: list[State], here: int, other: int, *, right: bool) -> bool:
    """Whether a transition joins the two on that side; on the right they go down, on the left up."""
    upper, lower = sorted((here, other))
    source, target = (upper, lower) if right else (lower, upper)
    return here != other and order[target] in LEGAL[order[source]]


def centre(i: int) -> float:
    """Where the middle of the `i`-th box is, in pixels from the top."""
    return MARGIN + PITCH * i + BOX_HEIGHT / 2


MEANING = {
    State.SCHEDULED: "waits for its due time: a countdown, an eta, the pause before a retry",
    State.BLOCKED: "waits for the message or group that it awaits",
    State.PENDING: "may be claimed",
    State.HELD: "a limit has no token or no place for it yet, or it is not the turn of its key",
    State.LEASED: "a worker has it, under a fencing token, until a deadline",
    State.SUCCEEDED: "returned",
    State.DEAD: "failed for good: a dead letter, kept with its arguments",
    State.UPSTREAM_FAILED: "will not run, because what it awaited did not succeed",
    State.CANCELLED: "revoked, or expired before it ran",
}


def states_page() -> str:
    """docs/reference/states.md."""
    rows = [
        (
            f"`{state.value}`",
            MEANING[state],
            " ".join(f"`{s.value}`" for s in State if s in LEGAL[state]) or "(none: final)",
            f"`{celery_state(state)}`",
        )
        for state in State
    ]
    return (
        f"{NOTE}# States\n\n"
        "A [message](glossary.md) has one of these states in the file, and changes it only as the table says: each "
        "statement that changes a state names the state from which it starts. "
        "[States](../explanation/states.md) explains the transitions.\n\n"
        "```{image} states.svg\n:alt: The states of a message and their transitions, as in the table below\n"
        ":width: 100%\n```\n\n"
        "Ways down are on the right, ways back up on the left. An arrow has the colour of the state that it leaves. A "
        "final state has a thick border.\n\n"
        f"{table(('state', 'meaning', 'may become', 'Celery name'), *rows)}\n"
        "`AsyncResult.state` shows the Celery name. A message that waits for a retry shows `RETRY`, and one that runs "
        "and tracks its start shows `STARTED`.\n"
    )


# -- settings --------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """docs/reference/settings.md."""
    entries = "\n".join(setting_entry(SETTINGS[name]) for name in sorted(SETTINGS))
    return f"{NOTE}# Settings\n\n{SETTINGS_HEAD}\n{entries}{without_effect()}"


def without_effect() -> str:
    """Celery's names that are accepted and do nothing; with a reason for those that are often set."""
    whys = "".join(f"| `{name}` | {why} |\n" for name, why in sorted(WHY_NO_EFFECT.items()))
    others = ", ".join(f"`{name}`" for name in sorted(NO_EFFECT - WHY_NO_EFFECT.keys()))
    return f"{WITHOUT_EFFECT_HEAD}\n| name | why |\n| --- | --- |\n{whys}\nThe others: {others}.\n"


WITHOUT_EFFECT_HEAD = """
## Accepted, without effect

These settings of Celery steer brokers, result stores and machinery that liteq does not have. A program that sets them
gets one warning.
"""


SETTINGS_HEAD = """\
Where Celery has a setting, its lower-case name counts here too. A value comes from these places, the last one wins:

1. `liteq.ini`, or `[tool.liteq]` in `pyproject.toml`,
2. `liteq_config.py`,
3. the app's code: `app.conf`,
4. the environment: `LITEQ_` and the name in capitals,
5. the command line.

The environment and the command line belong to the operator of an app, so they outrank its code.
"""


def setting_entry(setting: Setting) -> str:
    """One setting as a section: what it does, and its facts."""
    facts = {
        "takes": setting.allowed,
        "unit": setting.unit,
        "default": f"`{setting.default!r}`",
        "environment": f"`{setting.env}`",
        "in Celery": celery_name(setting),
    }
    lines = "".join(f"- {fact}: {value}\n" for fact, value in facts.items() if value)
    return f"## {setting.name}\n\n{setting.doc}\n\n{lines}"


def celery_name(setting: Setting) -> str:
    """The name of the setting in Celery."""
    if setting.celery is None:
        return "no such setting"
    return "the same" if setting.celery == setting.name else f"`{setting.celery}`"


# -- commands --------------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """docs/reference/cli.md."""
    codes = table(("code", "meaning"), *((str(int(code)), meaning) for code, meaning in MEANING_OF_EXIT.items()))
    commands = "\n".join(command_entries(liteq_command, "liteq", depth=2))
    return f"{NOTE}# Commands\n\n{commands}\n## Exit codes\n\n{codes}"


def command_entries(command: click.Command, path: str, depth: int) -> Iterator[str]:
    """A command as a section, and then its subcommands."""
    if command.hidden:
        return
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"{'#' * depth} {path}", f"```text\n{usage}\n```", prose(command.help), options_table(command)]
    yield "\n\n".join(part.strip() for part in parts if part) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            if sub is not None:
                yield from command_entries(sub, f"{path} {name}", min(depth + 1, 4))


def prose(text: str | None) -> str:
    """A help text as Markdown: a paragraph that click is told to leave alone becomes a block as it stands."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(f"```text\n{p[2:]}\n```" if p.startswith("\b\n") else p for p in paragraphs)


def options_table(command: click.Command) -> str:
    """The options of a command, without `--help`; empty when it has none."""
    rows = [
        (
            ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts)),
            "" if option.is_flag or option.count else option.metavar or option.type.name.upper(),
            option.help or "",
        )
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    return table(("option", "value", "meaning"), *rows) if rows else ""


# -- metrics -----------------------------------------------------------------------------------------------------------


def metrics_page() -> str:
    """The metrics, by vocabulary."""
    return "\n".join(
        [
            f"{NOTE}\n# Metrics\n",
            "What `liteq metrics` tells: [Metrics for Prometheus](../howto/metrics.md). Times are seconds. The buckets",
            "of a histogram end at 5 ms to 1 h; it has the series `_bucket` (label `le`), `_sum` and `_count`.\n",
            metrics_table(LITEQ),
            "## With `--names celery`\n",
            metrics_table(CELERY),
            "## With `--names flower`\n",
            metrics_table(FLOWER).rstrip("\n") + "\n",
        ]
    )


def metrics_table(metrics: tuple[Metric, ...]) -> str:
    """Metrics under the names that a query finds them by."""
    rows = [
        (f"`{one.name if one.kind == 'histogram' else series(one)[0]}`", one.kind, ", ".join(one.labels), one.help)
        for one in metrics
    ]
    return table(("name", "kind", "labels", ""), *rows)


if __name__ == "__main__":
    sys.exit(main())
