"""Command lines of Celery's in Procfiles, units, Dockerfiles, compose files and shell scripts."""

from __future__ import annotations

import re
import shlex

import click

from liteq.cli.compat.upgrade.facts import NO_GREEN, PACKAGES, Finding, Severity, Verdict, of_requirement
from liteq.cli.compat.upgrade.sources import lines_of_commands

__all__ = ["check_script"]

COMMAND = re.compile(r"""(?:^|[\s"'\[=:/(&|;])celery(?=["']?(?:,|\s))""")
REQUIREMENT = re.compile(r"""\s*["']?(?P<name>[A-Za-z][\w.-]*)(?:\[[^\]]*\])?\s*(?:[=<>~!]=|[<>]|["',;@]|$)""")
QUOTES = re.compile(r"""["',\[\]]""")
GLOBAL_WITH_VALUE = frozenset(
    {"-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"}
)


def check_script(file: str, text: str) -> list[Finding]:
    """The findings about the command lines of `celery` in a text."""
    found = []
    for number, line in lines_of_commands(text):
        if line.lstrip().startswith("#"):
            continue
        if (pinned := REQUIREMENT.match(line)) and (verdict := of_requirement(pinned["name"])):
            found.append(Finding(file, number, *_of(verdict, f"the package {pinned['name']}")))
        match = COMMAND.search(line)
        if match is None:
            continue
        words = _words(line[match.end() :])
        command = _command(words)
        if command is not None:
            found += [Finding(file, number, *_of(verdict, what)) for what, verdict in _verdicts(command, words)]
    return found


def _of(verdict: Verdict, what: str) -> tuple[Severity, str, str]:
    return verdict[0], what, verdict[1]


def _words(rest: str) -> list[str]:
    """The words after `celery`; of a JSON or YAML list too."""
    plain = (
        QUOTES.sub(" ", rest) if '", "' in rest or "', '" in rest or rest.lstrip().startswith(('",', "',")) else rest
    )
    for stop in ("&&", "||", ";", "|", ">", "<"):
        plain = plain.partition(f" {stop}")[0]
    try:
        return shlex.split(plain)
    except ValueError:
        return plain.split()


def _command(words: list[str]) -> str | None:
    """The subcommand; None where the line is no call of Celery's program."""
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in GLOBAL_WITH_VALUE
            continue
        return word if re.fullmatch(r"[a-z_-]+", word) else None
    return None


def _verdicts(command: str, words: list[str]) -> list[tuple[str, Verdict]]:
    from liteq.cli import group  # which imports each command when it is run, this one too

    what = f"celery {command}"
    if command in PACKAGES:
        return [(what, PACKAGES[command])]
    if command in group.ELSEWHERE:
        return [(what, (Severity.MISSING, group.ELSEWHERE[command]))]
    if command not in group.COMMANDS:
        return []
    verdicts: list[tuple[str, Verdict]] = [(what, (Severity.NOTE, f"becomes `liteq {command}`, with the same options"))]
    made = group.main.get_command(click.Context(group.main), command)
    assert made is not None, f"{command} is listed"
    known = {flag for p in made.get_params(click.Context(made)) for flag in (*p.opts, *p.secondary_opts)}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        flag, _, value = word.partition("=")
        if flag in {"-P", "--pool"} and (value or following) in {"gevent", "eventlet"}:
            verdicts.append((f"{what} {flag}", (Severity.MISSING, NO_GREEN)))
        elif flag in {"-S", "--scheduler"} and "django" in (value or following):
            verdicts.append((f"{what} {flag}", PACKAGES["django_celery_beat"]))
        elif command == "worker" and flag in {"--purge", "--discard"} and "--yes" not in words:
            verdicts.append(
                (f"{what} {flag}", (Severity.DIFFERS, "asks before it deletes, and no one answers: add --yes"))
            )
        elif flag.startswith("--") and flag not in known and not isinstance(made, click.Group):
            verdicts.append((f"{what} {flag}", (Severity.MISSING, f"`liteq {command}` has no such option")))
    return verdicts
