"""`read`: from the text of a file to its flows, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath

from liteq.utils.misspelt import meant
from liteq_flow.errors import FlowRefused
from liteq_flow.model import Action, Flow, FlowFile, Problem, Run
from liteq_flow.reader.build import build_flow
from liteq_flow.reader.checks import check_references
from liteq_flow.reader.outright import check_outright, steps_of
from liteq_flow.reader.secrecy import check_secrets
from liteq_flow.reader.synonyms import settle
from liteq_flow.reader.yaml_places import Path, Spot, documents, place
from liteq_flow.schemas.schema import DEFINITIONS, DOCUMENT
from liteq_flow.schemas.schema_check import errors
from liteq_flow.values import references

__all__ = ["beside", "called", "read", "spots"]


def read(text: str, file: str = "flow.yaml", *, has: Callable[[str], bool] | None = None) -> FlowFile:
    """The flows of a file. `file`: its name, for messages, and for the name of a flow that has none.

    `has`: whether there is a file beside it for a flow of this name; without it nobody looks for them.
    Raises FlowRefused, with FILE:LINE, path and remedy of each thing that is wrong.
    """
    roots = spots(text, file)
    notes: list[Problem] = []
    problems: list[Problem] = []
    flows: list[Flow] = []
    for index, root in enumerate(roots):
        tell = _teller(root, file, problems, index)
        note = _teller(root, file, notes, index)
        for path, what, refused in settle(root):
            (tell if refused else note)(path, what)
        before = len(problems)
        for path, what in errors(DOCUMENT, root.plain, DEFINITIONS):
            tell(path, what)
        if len(problems) == before:  # else what is built from would not be there
            flow = build_flow(root, file, tell, first=index == 0)
            check_references(flow, tell)
            check_outright(flow, tell)
            check_secrets(flow, tell)
            for path, what in _without_effect(flow):
                note(path, what)
            flows.append(flow)
    if not problems:
        problems = [*_twice(flows, file), *_missing(flows, roots, file, has)]
    if problems:
        raise FlowRefused(sorted(dict.fromkeys(problems), key=lambda one: one.line))
    _named_alike(flows, [_teller(root, file, notes, index) for index, root in enumerate(roots)])
    return FlowFile(file, tuple(flows), tuple(notes))


def spots(text: str, file: str) -> list[Spot]:
    """The documents of a file, as they stand. Raises FlowRefused where it is no YAML, or has none."""
    roots = documents(text, file)
    if not roots or all(root.value is None for root in roots):
        raise FlowRefused([Problem(file, 0, "", "there is no flow in it")])
    for root in roots:
        if root.value is None:
            raise FlowRefused([Problem(file, root.line, "", "a document without a flow; take out its `---`")])
    return roots


def _teller(root: Spot, file: str, into: list[Problem], index: int) -> Callable[[Path, str], None]:
    def tell(path: Path, what: str) -> None:
        line, said = place(root, path)
        name = root.value.get("name") if index and isinstance(root.value, dict) else None
        prefix = f"{name.value}: " if name is not None else f"document {index + 1}: " if index else ""
        into.append(Problem(file, line, prefix + said, what))

    return tell


def _twice(flows: list[Flow], file: str) -> list[Problem]:
    found: list[Problem] = []
    names: dict[str, int] = {}
    for flow in flows:
        if flow.name in names:
            found.append(Problem(file, flow.line, "name", f"{flow.name!r} is also the flow in line {names[flow.name]}"))
        names.setdefault(flow.name, flow.line)
    return found


def _without_effect(flow: Flow) -> Iterator[tuple[Path, str]]:
    """Words that mean more to other programs: what a shell works out, and references in the default of a param."""
    places: list[tuple[Path, tuple[tuple[str, str], ...]]] = [(("env",), flow.env)]
    places += [(("steps", index, "env"), step.env) for index, step in enumerate(flow.steps)]
    places += [(("params",), tuple((param.name, str(param.default)) for param in flow.params))]
    for path, env in places:
        for name, value in env:
            if "`" in value or "$(" in value:
                yield path, f"{name} is a text, in which no command is run; let a step write it, with `output: {name}`"
    for param in flow.params:
        if (one := next(references(param.default), None)) is not None:
            yield ("params",), f"the default of {param.name} is plain text: {one.text} in it is not filled in"


def _named_alike(flows: list[Flow], notes: list[Callable[[Path, str], None]]) -> None:
    """Note commands that are the name of a flow of this file: before Dagu's version 2 `run: NAME` called it."""
    names = {flow.name for flow in flows}
    for flow, note in zip(flows, notes, strict=True):
        for step, path in steps_of(flow):
            if (
                isinstance(step.do, Run)
                and len(step.do.commands) == 1
                and (name := step.do.commands[0].strip()) in names
            ):
                note((*path, "run"), f"{name!r} is a command here; `call: {name}` runs the flow of that name")


def _missing(flows: list[Flow], roots: list[Spot], file: str, has: Callable[[str], bool] | None) -> list[Problem]:
    """Calls of flows that are neither in the file nor beside it."""
    found: list[Problem] = []
    names = [flow.name for flow in flows]
    for index, flow in enumerate(flows if has is not None else ()):
        tell = _teller(roots[index], file, found, index)
        for path, name in called(flow):
            if name not in names and has is not None and not has(name):
                others = f"nor {' or '.join(beside(name))} beside it"
                tell(path, f"there is no flow {name!r} in this file, {others}{meant(name, names)}")
    return found


def called(flow: Flow) -> Iterator[tuple[Path, str]]:
    """The names that its `dag.run` and `dag.enqueue` call, with their places, where they hold no reference."""
    for step, path in steps_of(flow):
        if isinstance(step.do, Action) and step.do.name in {"dag.run", "dag.enqueue"}:
            name = str(step.do.arguments["dag"])
            if "$" not in name:
                yield (*path, "with", "dag"), name


def beside(name: str) -> tuple[str, ...]:
    """The names of the files that a flow's name may mean, beside the file that calls it."""
    return (name,) if PurePath(name).suffix in {".yaml", ".yml"} else (f"{name}.yaml", f"{name}.yml")
