"""From a step, as a file says it, to the model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from liteq.utils.misspelt import meant
from liteq_flow.model import (
    Action,
    Approval,
    Do,
    Event,
    Foreach,
    Nothing,
    Ours,
    Parallel,
    Run,
    Step,
)
from liteq_flow.reader import parts
from liteq_flow.reader.parts import Tell
from liteq_flow.reader.words import RESERVED, obeyed, refused_action
from liteq_flow.reader.yaml_places import Path, Spot
from liteq_flow.schemas.forms import check_form
from liteq_flow.schemas.schema import NAME, STEP_ID
from liteq_flow.schemas.schema_actions import ACTIONS

__all__ = ["Defaults", "build_step"]

WORK = ("run", "action", "task", "workflow", "agent", "event", "foreach")
OURS: tuple[Literal["task", "workflow", "agent"], ...] = ("task", "workflow", "agent")
# Actions that are sent to a worker as commands are.
JOBS = frozenset({
    "exec", "file.read", "file.write", "http.request", "log.write", "mail.send", "template.render", "wait.file",
    "wait.http",
})  # fmt: skip
OF_RUN = frozenset({"shell", "shell_args"})
LONGEST_ID, LONGEST_NAME = 40, 255


@dataclasses.dataclass(frozen=True, slots=True)
class Defaults:
    """`defaults`: for each step that does not say it itself; its variables and gates are added to a step's."""

    words: Mapping[str, Spot]

    def over(self, step: Mapping[str, Spot]) -> dict[str, Spot]:
        """The step's words, with these where it has none."""
        made = {**self.words, **step}
        for word in ("env", "preconditions"):
            if word in self.words and word in step:
                made[word] = Spot([*_listed(self.words[word]), *_listed(step[word])], step[word].line)
        return made


def _listed(spot: Spot) -> list[Spot]:
    return spot.value if isinstance(spot.value, list) else [spot]


def build_step(spot: Spot, path: Path, defaults: Defaults, tell: Tell, *, index: int, within: str) -> Step:
    """The step at `path`. within: "steps", "handler" or "foreach". `tell` is called for each thing that is wrong."""
    words = defaults.over(spot.value)
    plain = {word: one.plain for word, one in words.items()}
    line = spot.key_line or spot.line
    id_, name, named = _identity(plain, path, tell, index)
    if within == "handler":
        id_ = name = str(path[-1])
        for word in ("depends", "approval"):
            if word in spot.value:
                tell((*path, word), f"a handler takes no {word!r}")
    do = _work(words, plain, path, defaults, tell, within=within, named=named)
    output = plain.get("output")
    step = Step(
        id=id_,
        name=name,
        do=do,
        line=line,
        named=named,
        description=plain.get("description", ""),
        depends=tuple(one if isinstance(one, str) else str(one) for one in _depends(plain)),
        env=parts.env(words.get("env")),
        working_dir=plain.get("working_dir"),
        timeout_s=parts.span_s(plain.get("timeout_sec"), (*path, "timeout_sec"), tell),
        retry=parts.retry(plain.get("retry_policy"), (*path, "retry_policy"), tell),
        repeat=parts.repeat(plain.get("repeat_policy"), (*path, "repeat_policy"), tell),
        continue_on=parts.continue_on(plain.get("continue_on"), (*path, "continue_on"), tell),
        preconditions=parts.conditions(plain.get("preconditions")),
        variable=_variable(output, (*path, "output"), tell),
        captured=parts.captured(output, (*path, "output"), tell) if isinstance(output, Mapping) else (),
        declared=parts.declared(plain.get("outputs"), (*path, "outputs"), tell),
        stdout=parts.stream(plain.get("stdout"), (*path, "stdout"), tell),
        stderr=parts.stream(plain.get("stderr"), (*path, "stderr"), tell),
        parallel=_parallel(plain.get("parallel")),
        approval=_approval(plain.get("approval"), (*path, "approval"), tell),
        queue=plain.get("queue"),
        priority=plain.get("priority"),
        memo=plain.get("memo"),
        limits=parts.texts(plain.get("limits")),
        doubt=plain.get("doubt", "repeat"),
        compensate=_compensate(words, path, defaults, tell),
    )
    _check_together(step, spot, path, tell)
    _check_patterns(step, path, tell)
    return step


def _depends(plain: Mapping[str, Any]) -> list[Any]:
    given = plain.get("depends")
    return [] if given is None else given if isinstance(given, list) else [given]


def _identity(plain: Mapping[str, Any], path: Path, tell: Tell, index: int) -> tuple[str, str, bool]:
    """Id, name, and whether the file gave an id."""
    id_, name = str(plain.get("id", "")).strip(), str(plain.get("name", "")).strip()
    if "id" in plain:
        if not re.search(STEP_ID, id_):
            tell((*path, "id"), f"{id_!r} is no id: letters, digits and _, and a letter first; `name` takes any text")
        elif len(id_) > LONGEST_ID:
            tell((*path, "id"), f"an id has up to {LONGEST_ID} characters, this one {len(id_)}")
        elif id_.lower() in RESERVED:
            tell((*path, "id"), f"the id {id_!r} has a meaning of its own in references; use another")
    if len(name.encode()) > LONGEST_NAME:
        tell((*path, "name"), f"a name has up to {LONGEST_NAME} bytes, this one {len(name.encode())}")
    return id_ or name or f"step_{index + 1}", name or id_ or f"step_{index + 1}", bool(id_)


# -- the work --------------------------------------------------------------------------------------------------------


def _work(
    words: Mapping[str, Spot], plain: Mapping[str, Any], path: Path, defaults: Defaults, tell: Tell, *, within: str,
    named: bool,
) -> Do:  # fmt: skip
    said = [word for word in WORK if word in plain]
    if len(said) > 1:
        tell(path, f"a step does one thing: {' or '.join(f'`{word}`' for word in said)}")
    given = plain.get("with") or {}
    at = (*path, "with")
    if not said:
        if "output" not in plain and "approval" not in plain:
            tell(path, f"the step does nothing: it takes one of {', '.join(f'`{word}`' for word in WORK)}, or `output`")
        return Nothing()
    match said[0]:
        case "run":
            return _run(words, plain, at, tell)
        case "action":
            return _action(plain["action"].strip(), given, path, tell, within=within, named=named)
        case "event":
            return Event(plain["event"])
        case "foreach":
            if within != "steps":
                tell((*path, "foreach"), "a `foreach` stands among a flow's own steps")
            return _foreach(words["foreach"], (*path, "foreach"), defaults, tell)
    kind = next(one for one in OURS if one == said[0])
    return Ours(kind, plain[kind], given)


def _run(words: Mapping[str, Spot], plain: Mapping[str, Any], at: Path, tell: Tell) -> Run:
    spot, given = words["run"], plain.get("with") or {}
    for word in given.keys() - OF_RUN:
        tell((*at, word), f"unknown word {word!r}; `run` takes `shell` and `shell_args` here{meant(word, OF_RUN)}")
    shell = None
    if "shell" in given or "shell_args" in given:
        shell = parts.shell_words(given.get("shell", "sh"), given.get("shell_args"), (*at, "shell"), tell)
    script = isinstance(spot.value, str) and "\n" in spot.value
    if script and any(re.fullmatch(r"-[a-zA-Z]*[cs][a-zA-Z]*", one) for one in (shell or ())[1:]):
        tell((*at, "shell_args"), "-c and -s say where a command comes from; a script of several lines is a file")
    commands = spot.value if isinstance(spot.value, list) else [spot]
    return Run(tuple(parts.number_text(one) for one in commands), script=script, shell=shell)


def _action(name: str, given: Mapping[str, Any], path: Path, tell: Tell, *, within: str, named: bool) -> Do:
    at = (*path, "action")
    if name not in ACTIONS:
        why = refused_action(name)
        tell(at, f"{name!r} is not known here: {why}" if why else f"unknown action {name!r}{meant(name, ACTIONS)}")
    if name == "human.task":
        if within == "handler":
            tell(at, "a handler asks nobody")
        if not named:
            tell(path, "`human.task` needs an `id`: by it the question is answered")
        for word, what in check_form(given.get("form") or {"type": "object"}):
            tell((*path, "with", "form", *word), what)
    if name == "noop":
        return Nothing()
    return Action(name, given)


def _foreach(spot: Spot, path: Path, defaults: Defaults, tell: Tell) -> Foreach:
    words = spot.value
    steps = [
        build_step(one, (*path, "steps", index), defaults, tell, index=index, within="foreach")
        for index, one in enumerate(words["steps"].value)
    ]
    return Foreach(
        items=words["items"].plain,
        as_name=words["as"].value if "as" in words else "item",
        key=words["key"].value if "key" in words else None,
        max_concurrent=words["max_concurrent"].value if "max_concurrent" in words else 10,
        steps=tuple(steps),
        collect=words["collect"].plain if "collect" in words else {},
    )


# -- what is said of it ----------------------------------------------------------------------------------------------


def _variable(output: Any, path: Path, tell: Tell) -> str | None:
    if not isinstance(output, str):
        return None
    name = output.strip().removeprefix("$")
    if not re.search(NAME, name):
        tell(path, f"{output!r} is no name of a variable: letters, digits and _, and a letter first")
    elif obeyed(name):
        tell(path, f"{name!r} is a variable that shells and programs obey; use another name")
    return name


def _parallel(value: Any) -> Parallel | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return Parallel(value["items"], value.get("max_concurrent", 10))
    return Parallel(value, 10)


def _approval(value: Mapping[str, Any] | None, path: Path, tell: Tell) -> Approval | None:
    """With the names of `input` as a form of texts."""
    if value is None:
        return None
    form = value.get("form")
    if names := value.get("input"):
        if form is not None:
            tell((*path, "input"), "`input` and `form` say the same; keep one")
        required = value.get("required") or []
        for name in required:
            if name not in names:
                tell((*path, "required"), f"{name!r} is none of `input`{meant(name, names)}")
        form = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": required}
    for word, what in check_form(form or {"type": "object"}):
        tell((*path, "form", *word), what)
    return Approval(value.get("prompt", ""), form or {})


def _compensate(words: Mapping[str, Spot], path: Path, defaults: Defaults, tell: Tell) -> Step | None:
    spot = words.get("compensate")
    if spot is None:
        return None
    at = (*path, "compensate")
    quiet = Defaults(
        {word: one for word, one in defaults.words.items() if word in {"env", "timeout_sec", "retry_policy"}}
    )
    undo = build_step(spot, at, quiet, tell, index=0, within="handler")
    if isinstance(undo.do, (Foreach, Event)):
        tell(at, "what undoes a step is one command, action or task")
    return undo


def _check_together(step: Step, spot: Spot, path: Path, tell: Tell) -> None:
    """Tell of words that may not stand beside each other."""
    do, words = step.do, spot.value
    human = isinstance(do, Action) and do.name == "human.task"
    if isinstance(do, (Nothing, Foreach, Event)) or human:
        for word in ("outputs", "stdout", "stderr", "parallel", "repeat_policy"):
            if word in words:
                tell((*path, word), f"{word!r} belongs to a step that runs something")
    _check_job(do, words, path, tell)
    if human and "output" in words:
        tell((*path, "output"), "the outputs of `human.task` are the fields of its form")
    if isinstance(do, Nothing) and step.variable:
        tell((*path, "output"), "`output: NAME` takes a command's output; `output: {key: value}` publishes values")
    if step.declared and not step.named:
        tell((*path, "outputs"), "a step with `outputs` needs an `id`")
    if step.declared and not isinstance(do, (Run, Action)):
        tell((*path, "outputs"), "`outputs` are written by a command")
    if isinstance(do, Foreach) and "with" in words:
        tell((*path, "with"), "`foreach` takes no `with`")


def _check_job(do: Do, words: Mapping[str, Spot], path: Path, tell: Tell) -> None:
    """Report words that have no effect in this step, such as `doubt: ask` in a step that runs no command."""
    action = do.name if isinstance(do, Action) else ""
    if not isinstance(do, Run) and action not in JOBS:
        for word in ("memo", "limits", "doubt"):
            if word in words:
                tell((*path, word), f"{word!r} belongs to a command; a task, a workflow or an agent has its own")
    elif action.startswith("wait.") and "memo" in words:
        tell((*path, "memo"), "a wait has no memo: each look must see the present state")
    if isinstance(do, Ours) and do.kind == "agent":
        for word in ("timeout_sec", "queue", "priority"):
            if word in words:
                tell((*path, word), f"an agent runs in the flow itself, without {word!r}: set it on its own steps")


def _check_patterns(step: Step, path: Path, tell: Tell) -> None:
    parts.check_patterns((one.expected for one in step.preconditions), (*path, "preconditions"), tell)
    parts.check_patterns([step.repeat.expected] if step.repeat else [], (*path, "repeat_policy"), tell)
    parts.check_patterns(step.continue_on.output, (*path, "continue_on", "output"), tell)
