"""From a document, as a file says it, to the model of a flow."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from liteq.utils.misspelt import meant
from liteq_flow.crontab import check_line
from liteq_flow.errors import UnknownReference
from liteq_flow.model import Action, Flow, Foreach, Param, Secret, Step
from liteq_flow.reader import parts
from liteq_flow.reader.build_step import Defaults, build_step
from liteq_flow.reader.params import check_params
from liteq_flow.reader.parts import Tell
from liteq_flow.reader.words import obeyed
from liteq_flow.reader.yaml_places import Path, Spot
from liteq_flow.schemas.forms import wrong_pattern
from liteq_flow.values import resolve

__all__ = ["build_flow"]


def build_flow(root: Spot, file: str, tell: Tell, *, first: bool) -> Flow:
    """The flow that a document says. `tell` is called for each thing that is wrong."""
    words: Mapping[str, Spot] = root.value
    plain: Mapping[str, Any] = {word: one.plain for word, one in words.items() if word not in {"steps", "handler_on"}}
    defaults = Defaults(words["defaults"].value if "defaults" in words else {})
    if not first and "name" not in plain:
        tell((), "a document after the first needs a `name`, by which `dag.run` calls it")
    steps = tuple(
        build_step(one, ("steps", index), defaults, tell, index=index, within="steps")
        for index, one in enumerate(words["steps"].value)
    )
    params = _params(plain.get("params"), tell)
    gates = parts.conditions(plain.get("preconditions"))
    parts.check_patterns((one.expected for one in gates), ("preconditions",), tell)
    shell = parts.shell_words(plain.get("shell"), plain.get("shell_args"), ("shell",), tell)
    return Flow(
        name=plain.get("name", PurePath(file).stem or "flow"),
        steps=_connected(steps, words["steps"], plain.get("type", "graph"), tell),
        line=root.line,
        description=plain.get("description", ""),
        type=plain.get("type", "graph"),
        params=params,
        env=parts.env(words.get("env")),
        dotenv=parts.texts(plain.get("dotenv")),
        consts=_consts(words.get("consts"), tell),
        secrets=_secrets(plain.get("secrets"), tell),
        working_dir=plain.get("working_dir"),
        shell=shell,
        schedule=_schedule(plain.get("schedule"), tell),
        catchup_window_s=parts.span_s(plain.get("catchup_window"), ("catchup_window",), tell),
        overlap_policy=plain.get("overlap_policy", "skip"),
        queue=plain.get("queue"),
        max_active_steps=plain.get("max_active_steps") or None,
        max_active_runs=_positive(plain.get("max_active_runs")),
        timeout_s=parts.span_s(plain.get("timeout_sec"), ("timeout_sec",), tell),
        preconditions=gates,
        handlers=_handlers(words.get("handler_on"), defaults, tell),
        labels=parts.labels(plain.get("labels")),
    )


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


def _handlers(spot: Spot | None, defaults: Defaults, tell: Tell) -> dict[str, Step]:
    some = {word: one for word, one in defaults.words.items() if word in {"env", "timeout_sec", "retry_policy"}}
    return {
        name: build_step(one, ("handler_on", name), Defaults(some), tell, index=0, within="handler")
        for name, one in ([] if spot is None else spot.value.items())
    }


# -- steps among each other ------------------------------------------------------------------------------------------


def _connected(steps: tuple[Step, ...], spot: Spot, type_: str, tell: Tell) -> tuple[Step, ...]:
    """The steps with their dependencies as ids; told: ids that stand twice, unknown ones, a cycle."""
    ids = _ids(steps, ("steps",), tell)
    made = []
    for index, step in enumerate(steps):
        path: Path = ("steps", index)
        if type_ == "chain" and "depends" in spot.value[index].value:
            tell((*path, "depends"), "in a chain each step has the one before it; leave `depends` out")
        depends = [steps[index - 1].id] if type_ == "chain" and index else []
        depends += [one for name in step.depends if (one := _known(name, ids, (*path, "depends"), tell))]
        made.append(dataclasses.replace(step, depends=tuple(dict.fromkeys(depends))))
    made = _routed(made, ids, tell)
    for index, cycle in _cycles(made):
        tell(("steps", index, "depends"), f"a cycle: {' after '.join(cycle)}")
    for index, step in enumerate(made):
        if isinstance(step.do, Foreach):
            inner = _inner(step.do.steps, ("steps", index, "foreach", "steps"), tell)
            made[index] = dataclasses.replace(step, do=dataclasses.replace(step.do, steps=inner))
    return tuple(made)


def _inner(steps: tuple[Step, ...], path: Path, tell: Tell) -> tuple[Step, ...]:
    """The steps of a foreach, likewise."""
    ids = _ids(steps, path, tell)
    made = [
        dataclasses.replace(
            one,
            depends=tuple(
                found for name in one.depends if (found := _known(name, ids, (*path, index, "depends"), tell))
            ),
        )
        for index, one in enumerate(steps)
    ]
    for index, cycle in _cycles(made):
        tell((*path, index, "depends"), f"a cycle: {' after '.join(cycle)}")
    return tuple(made)


def _ids(steps: tuple[Step, ...], path: Path, tell: Tell) -> dict[str, str]:
    """By each id and each name: the id."""
    found: dict[str, str] = {}
    for index, step in enumerate(steps):
        for word, text in (("id", step.id), ("name", step.name)):
            if (text in found and found[text] != step.id) or (word == "id" and text in found):
                at = (*path, index, word if word == "id" and step.named else "name")
                tell(at, f"{text!r} stands twice; each step has an id and a name of its own")
            found.setdefault(text, step.id)
    return found


def _known(name: str, ids: Mapping[str, str], path: Path, tell: Tell) -> str | None:
    found = ids.get(name)
    if found is None:
        tell(path, f"there is no step {name!r}{meant(name, ids)}")
    return found


def _routed(steps: list[Step], ids: Mapping[str, str], tell: Tell) -> list[Step]:
    """The steps, with those that a router chooses from after it."""
    after: dict[str, list[str]] = {}
    for index, step in enumerate(steps):
        if isinstance(step.do, Action) and step.do.name == "router.route":
            path = ("steps", index, "with", "routes")
            routes = {}
            for value, targets in step.do.arguments["routes"].items():
                if value.startswith("re:") and (why := wrong_pattern(value[3:])):
                    tell((*path, value), why)
                known = [_known(one, ids, (*path, value), tell) for one in parts.texts(targets)]
                routes[value] = [one for one in known if one is not None]
                for one in routes[value]:
                    after.setdefault(one, []).append(step.id)
            do = Action("router.route", {**step.do.arguments, "routes": routes})
            steps[index] = dataclasses.replace(step, do=do)
    return [
        dataclasses.replace(step, depends=tuple(dict.fromkeys((*step.depends, *after.get(step.id, ())))))
        for step in steps
    ]


def _cycles(steps: list[Step]) -> Iterator[tuple[int, list[str]]]:
    """Each cycle once: the index of a step in it, and its ids from that step back to it."""
    by_id = {step.id: (index, step) for index, step in enumerate(steps)}
    state: dict[str, int] = {}  # 1: being looked at, 2: done
    for start in by_id:
        trail: list[tuple[str, Iterator[str]]] = [(start, iter(by_id[start][1].depends))] if start not in state else []
        state.setdefault(start, 1)
        while trail:
            id_, rest = trail[-1]
            one = next((one for one in rest if one in by_id), None)
            if one is None:
                state[id_] = 2
                trail.pop()
            elif state.get(one) == 1:
                names = [name for name, _ in trail]
                cycle = names[names.index(one) :]
                yield by_id[one][0], [*cycle, one]
            elif one not in state:
                state[one] = 1
                trail.append((one, iter(by_id[one][1].depends)))


# -- params, consts, secrets, schedules ------------------------------------------------------------------------------


def _params(value: Any, tell: Tell) -> tuple[Param, ...]:
    found: dict[str, Param] = {}
    for path, param in _each_param(value, tell):
        if not re.search(r"^[A-Za-z][A-Za-z0-9_]*$", param.name):
            tell(path, f"{param.name!r} is no name of a param: letters, digits and _, and a letter first")
        elif obeyed(param.name):
            tell(path, f"{param.name!r} is a variable that shells and programs obey; use another name")
        elif param.name in found:
            tell(path, f"the param {param.name!r} stands twice")
        found[param.name] = param
    for name, what in check_params(tuple(found.values())):
        tell(next((path for path, param in _each_param(value, lambda *_: None) if param.name == name), ()), what)
    return tuple(found.values())


def _each_param(value: Any, tell: Tell) -> Iterator[tuple[Path, Param]]:
    if isinstance(value, Mapping):
        if value.get("type") == "object" and isinstance(value.get("properties"), Mapping):
            tell(("params", "properties"), "write the params as a list of {name, type, default, ...}")
            return
        yield from ((("params", name), Param(name, one)) for name, one in value.items())
        return
    for index, one in enumerate(_words(value) if isinstance(value, str) else value or ()):
        path: Path = ("params",) if isinstance(value, str) else ("params", index)
        if isinstance(one, str):
            name, equals, default = one.partition("=")
            if not equals:
                tell(path, f"{one!r} has no name; write NAME={one}, and $NAME for $1")
                continue
            yield path, Param(name, default.strip("\"'"))
        elif "name" in one:
            yield path, parts.one_param(one["name"], one)
        else:
            yield from (((*path, name), Param(name, default)) for name, default in one.items())


def _words(text: str) -> list[str]:
    """The words of a text: what stands between quotes is one, or a part of one. A quote that is not closed is text."""
    found = shlex.shlex(text, posix=True)
    found.whitespace_split, found.escape, found.commenters = True, "", ""
    try:
        return list(found)
    except ValueError:
        return text.split()


def _consts(spot: Spot | None, tell: Tell) -> dict[str, Any]:
    found: dict[str, Any] = {}
    entries = [] if spot is None else spot.value if isinstance(spot.value, list) else [spot]
    for index, entry in enumerate(entries):
        at: Path = ("consts",) if spot is not None and spot is entry else ("consts", index)
        for name, one in entry.value.items():
            try:
                found[name] = resolve(one.value, _Earlier(found))
            except UnknownReference as exc:
                tell((*at, name), f"{exc.text}: {exc.why}; a const knows the consts before it alone")
    return found


class _Earlier:
    """Finds consts, and nothing else."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.found = found

    def __call__(self, one: Any) -> Any:
        if one.root != "consts" or one.path[0] not in self.found or len(one.path) > 1:
            raise UnknownReference(one.text, "it is not known here")
        return self.found[one.path[0]]


def _secrets(value: Any, tell: Tell) -> tuple[Secret, ...]:
    if isinstance(value, Mapping):
        found = {("secrets", name): Secret(name, source) for name, source in value.items()}
    else:
        found = {
            ("secrets", index): Secret(one["name"], f"{one['provider']}:{one['key']}")
            for index, one in enumerate(value or ())
        }
    for path, secret in found.items():
        if not re.match(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)\Z", secret.source):
            tell(path, "a secret is env:NAME or file:/path: its value does not stand in a file")
        if obeyed(secret.name):
            tell(path, f"{secret.name!r} is a variable that shells and programs obey; use another name")
    return tuple(found.values())


def _schedule(value: Any, tell: Tell) -> tuple[str, ...]:
    path: Path = ("schedule",)
    if isinstance(value, Mapping):
        word = "start" if "start" in value else "cron"
        path, value = ("schedule", word), value.get(word)
    found = []
    for index, one in enumerate(parts.texts(value) if not isinstance(value, list) else value):
        at = (*path, index) if isinstance(value, list) else path
        line = one.get("cron", "") if isinstance(one, Mapping) else one
        if why := check_line(line):
            tell(at, why)
        found.append(line)
    return tuple(found)
