"""References to secrets outside of commands: what a run itself works out stands in its history, for all to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from liteq_flow.model import Action, Condition, Event, Flow, Foreach, Ours, Secret, Step
from liteq_flow.reader.outright import steps_of
from liteq_flow.reader.parts import Tell
from liteq_flow.reader.yaml_places import Path
from liteq_flow.values import references

__all__ = ["check_secrets", "compared", "recorded", "variables_of"]

OF_JOBS: Final = frozenset(
    {"http.request", "file.read", "file.write", "template.render", "mail.send", "exec", "log.write", "wait.file"}
    | {"wait.http"}
)
"""Actions whose arguments are filled in where the job runs; those of all others are recorded."""


def variables_of(secret: Secret) -> tuple[str, ...]:
    """The names of the variables that have a secret's value: its own, and the one of the worker that it comes from."""
    kind, _, name = secret.source.partition(":")
    return (secret.name, name) if kind == "env" else (secret.name,)


def check_secrets(flow: Flow, tell: Tell) -> None:
    """Tell of each secret that would be recorded: in an output, a question, a comparison, the arguments of a task."""
    of = {name: secret for secret in flow.secrets for name in variables_of(secret)}
    if not of:
        return
    places = list(compared(flow.preconditions, ("preconditions",)))
    for step, path in steps_of(flow):
        places += recorded(step, path)
    for path, value in places:
        for one in references(value):
            if one.root in {"env", "variable"} and one.path[0] in of:
                name = of[one.path[0]].name
                tell(path, f"{one.text}: a secret is in the environment of commands, and recorded nowhere; let a "
                           f"command use ${name}")  # fmt: skip


def recorded(step: Step, path: Path) -> Iterator[tuple[Path, Any]]:
    """The texts of a step that the run fills in, with their places."""
    yield from compared(step.preconditions, (*path, "preconditions"))
    if step.repeat is not None and step.repeat.expected is not None:
        yield (*path, "repeat_policy", "condition"), [step.repeat.condition, step.repeat.expected]
    for one in step.captured:
        yield (*path, "output", one.name), one.value
    for word, stream in (("stdout", step.stdout), ("stderr", step.stderr)):
        for one in stream.outputs:
            yield (*path, word, "outputs", "fields", one.name), one.value
    if step.parallel is not None:
        yield (*path, "parallel"), step.parallel.items
    if step.approval is not None:
        yield (*path, "approval", "prompt"), step.approval.prompt
    yield (*path, "limits"), step.limits
    yield (*path, "retry_policy"), [step.retry.limit, step.retry.interval_s]
    match step.do:
        case Event(name=name):
            yield (*path, "event"), name
        case Foreach() as each:
            yield (*path, "foreach", "items"), each.items
            yield (*path, "foreach", "key"), each.key
            yield (*path, "foreach", "collect"), each.collect
        case Ours(arguments=arguments):
            yield (*path, "with"), arguments
        case Action(name=name, arguments=arguments) if name not in OF_JOBS:
            yield (*path, "with"), [arguments, list(arguments.get("routes") or ())]
        case _:
            pass


def compared(conditions: tuple[Condition, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    """The texts of conditions that are no commands, with their places."""
    for index, one in enumerate(conditions):
        if one.expected is not None:
            yield (*path, index), [one.condition, one.expected]
