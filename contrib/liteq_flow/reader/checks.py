"""The references of a flow: that each names what is there when its step begins, and stands where it is no code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from liteq.utils.misspelt import meant
from liteq_flow.model import Action, Condition, Flow, Foreach, Ours, Run, Step
from liteq_flow.reader.parts import Tell
from liteq_flow.reader.words import CONTEXT
from liteq_flow.reader.yaml_places import Path
from liteq_flow.shells.shell import Script, ShellRefused, interpreter_of
from liteq_flow.values import OUT, Reference, references

__all__ = ["check_references"]

Json = Any


@dataclass(frozen=True, slots=True)
class _Known:
    """The things that the references of one step may name."""

    flow: Flow
    steps: Mapping[str, Step]
    """Those whose outputs are there: what is before the step. Of a handler: all."""
    elsewhere: Mapping[str, Step] = field(default_factory=dict)
    """The others, of which it is said that they are not before it."""
    item: bool = False
    """Whether it is looked at for each item of `parallel`."""
    each: frozenset[str] = frozenset()
    """The names below `foreach`."""
    handler: bool = False


def check_references(flow: Flow, tell: Tell) -> None:
    """Look at every text of a flow that may hold a reference."""
    root = _Known(flow, {})
    for word, value in (("env", dict(flow.env)), ("dotenv", flow.dotenv), ("working_dir", flow.working_dir)):
        _check(references(value), root, (word,), tell)
    _check(references(list(flow.shell)), root, ("shell",), tell)
    _conditions(flow.preconditions, root, ("preconditions",), tell)
    for index, (step, before) in enumerate(_with_those_before(flow.steps)):
        others = {one.id: one for one in flow.steps if one.id not in before and one.id != step.id}
        _check_step(step, _Known(flow, before, others), ("steps", index), tell)
    for name, handler in flow.handlers.items():
        known = _Known(flow, {one.id: one for one in flow.steps}, handler=True)
        _check_step(handler, known, ("handler_on", name), tell)


def _with_those_before(steps: tuple[Step, ...]) -> Iterator[tuple[Step, dict[str, Step]]]:
    by_id = {step.id: step for step in steps}
    for step in steps:
        before: dict[str, Step] = {}
        left = list(step.depends)
        while left:
            if (one := by_id.get(left.pop())) is not None and one.id not in before:
                before[one.id] = one
                left.extend(one.depends)
        yield step, before


def _check_step(step: Step, known: _Known, path: Path, tell: Tell) -> None:
    of_item = replace(known, item=step.parallel is not None)
    itself = replace(known, steps={**known.steps, step.id: step})
    _work(step, of_item, path, tell)
    texts = {"env": dict(step.env), "working_dir": step.working_dir, "limits": step.limits}
    for word, value in texts.items():
        _check(references(value), of_item, (*path, word), tell)
    _check(references([step.retry.limit, step.retry.interval_s]), known, (*path, "retry_policy"), tell)
    _conditions(step.preconditions, known, (*path, "preconditions"), tell, item=of_item.item)
    if step.repeat is not None and step.repeat.condition is not None:
        again = Condition(step.repeat.condition, step.repeat.expected)
        _condition(again, itself, (*path, "repeat_policy", "condition"), tell, item=of_item.item)
    for one in step.captured:
        _check(references([one.value, one.path]), known, (*path, "output", one.name), tell)
    for word, stream in (("stdout", step.stdout), ("stderr", step.stderr)):
        _check(references([stream.path, stream.artifact]), of_item, (*path, word), tell)
        for one in stream.outputs:
            _check(references(one.value), known, (*path, word, "outputs", "fields", one.name), tell)
    if step.parallel is not None:
        _check(references(step.parallel.items), known, (*path, "parallel"), tell)
    if step.approval is not None:
        _check(references([step.approval.prompt]), itself, (*path, "approval", "prompt"), tell)
    if step.compensate is not None:
        _check_step(step.compensate, itself, (*path, "compensate"), tell)


def _work(step: Step, known: _Known, path: Path, tell: Tell) -> None:
    match step.do:
        case Run() as run:
            shell = known.flow.shell if run.shell is None else run.shell
            _check(references(list(run.shell or ())), known, (*path, "with"), tell)
            for index, text in enumerate(run.commands):
                at = (*path, "run") if len(run.commands) == 1 else (*path, "run", index)
                try:
                    words = interpreter_of(text, shell, own_shell=run.shell is not None) if run.script else shell
                    script = Script.read(text, shell=words, item=known.item)
                except ShellRefused as exc:
                    tell(at, str(exc))
                else:
                    _check(iter(script.references), known, at, tell)
        case Action(arguments=arguments) | Ours(arguments=arguments):
            for word, value in arguments.items():
                if word not in {"form", "template"}:
                    _check(references(value), known, (*path, "with", word), tell)
        case Foreach() as each:
            _foreach(each, known, (*path, "foreach"), tell)
        case _:
            pass


def _foreach(each: Foreach, known: _Known, path: Path, tell: Tell) -> None:
    _check(references(each.items), known, (*path, "items"), tell)
    names = frozenset({"index", "key", each.as_name})
    outer = _Known(known.flow, known.steps, known.elsewhere, each=frozenset({"index", each.as_name}))
    _check(references(each.key), outer, (*path, "key"), tell)
    for index, (step, before) in enumerate(_with_those_before(each.steps)):
        others = {one.id: one for one in each.steps if one.id not in before and one.id != step.id}
        inner = _Known(known.flow, {**known.steps, **before}, {**known.elsewhere, **others}, each=names)
        _check_step(step, inner, (*path, "steps", index), tell)
    done = _Known(known.flow, {**known.steps, **{one.id: one for one in each.steps}}, known.elsewhere, each=names)
    for name, text in each.collect.items():
        _check(references(text), done, (*path, "collect", name), tell)


def _conditions(
    conditions: tuple[Condition, ...], known: _Known, path: Path, tell: Tell, *, item: bool = False
) -> None:  # fmt: skip
    for index, one in enumerate(conditions):
        _condition(one, known, (*path, index), tell, item=item)


def _condition(one: Condition, known: _Known, path: Path, tell: Tell, *, item: bool = False) -> None:
    """`item`: of a step with `parallel`, in which `${ITEM}` is no variable of a command's own."""
    if one.expected is not None:
        if "`" in one.condition or "$(" in one.condition:
            what = "the text is compared, and no command is run in it: let a step before write the value, with"
            tell(path, f"{what} `output: NAME`, and compare `$NAME`; or leave `expected` out, and test in the command")
        _check(references([one.condition, one.expected]), known, path, tell)
        return
    try:
        script = Script.read(one.condition, shell=known.flow.shell, item=item)
    except ShellRefused as exc:
        tell(path, str(exc))
    else:
        _check(iter(script.references), known, path, tell)


# -- one reference ---------------------------------------------------------------------------------------------------


def _check(found: Iterator[Reference], known: _Known, path: Path, tell: Tell) -> None:
    for one in {one.text: one for one in found}.values():
        if what := _wrong(one, known):
            tell(path, f"{one.text}: {what}")


def _wrong(one: Reference, known: _Known) -> str:
    first = one.path[0] if one.path else ""
    match one.root:
        case "params":
            names = [param.name for param in known.flow.params]
            return "" if not first or first in names else f"there is no param {first!r}{meant(first, names)}"
        case "consts":
            consts = known.flow.consts
            if first in consts:
                return "" if len(one.path) == 1 else f"the const {first!r} is one value, and has no {one.path[1]!r}"
            return f"there is no const {first!r}{meant(first, consts)}"
        case "foreach":
            if not known.each:
                return "there is no `foreach` around it"
            return "" if first in known.each else f"there is no {first!r}{meant(first, known.each)}"
        case "ITEM":
            return (
                ""
                if known.item
                else "there is no item here: a step with `parallel` has ${ITEM} in its work, its `env` and its files"
            )
        case "context":
            fields = CONTEXT.get(first)
            if fields is None:
                return f"there is no {first!r}{meant(first, CONTEXT)}"
            second = one.path[1] if len(one.path) > 1 else ""
            return "" if second in fields else f"there is no {second!r}{meant(second, fields)}"
        case "steps":
            return _wrong_output(one, known)
        case _ if one.root == OUT:
            return _wrong_variable(first, known)
        case _:
            return ""


def _wrong_variable(name: str, known: _Known) -> str:
    if any(step.variable == name for step in known.steps.values()):
        return ""
    later = next((step.id for step in known.elsewhere.values() if step.variable == name), None)
    return (
        f"there is no `output: {name}`"
        if later is None
        else (f"`output: {name}` is that of {later!r}, which is not before this one; add it to `depends`")
    )


def _wrong_output(one: Reference, known: _Known) -> str:
    id_, *rest = one.path
    step = known.steps.get(id_)
    if step is None:
        if id_ in known.elsewhere:
            return f"the step {id_!r} is not before this one; add it to `depends`"
        return f"there is no step {id_!r} before this one{meant(id_, known.steps)}"
    if rest and rest[0] not in {"output", "outputs"}:
        return f"of a step there are `outputs`{meant(rest[0], ('output', 'outputs'))}"
    names = _outputs_of(step)
    if names is None or len(rest) < 2 or rest[1] in names:
        return ""
    told = f"; it has {', '.join(sorted(names))}" if names else "; it has none"
    return f"the step {id_!r} has no output {rest[1]!r}{meant(rest[1], names, told.removeprefix('; '))}"


def _outputs_of(step: Step) -> set[str] | None:
    """The names of a step's outputs; None where they are known when it has run."""
    names = {one.name for one in (*step.captured, *step.stdout.outputs)} | {one.name for one in step.declared}
    if step.stdout.whole:
        return None
    if step.parallel is not None:
        return names | {"summary", "results", "outputs"} | ({step.variable} if step.variable else set())
    if step.approval is not None:
        names |= set(step.approval.form.get("properties", {}))
    match step.do:
        case Run():
            return names | ({step.variable} if step.variable else set())
        case Action(name="human.task", arguments=arguments):
            form = arguments.get("form") or {}
            return None if form.get("additionalProperties") else set(form.get("properties", {}))
        case Action(name="outputs.write", arguments=arguments):
            return names | set(arguments["values"])
        case Action(name="file.write"):
            return names | {"path", "bytes"}
        case Action(name="log.write" | "noop" | "template.render" | "file.read" | "exec"):
            return names | ({step.variable} if step.variable else set())
        case Action() | Ours():
            return None
        case Foreach():
            return None
        case _:
            return names | {"payload"}
