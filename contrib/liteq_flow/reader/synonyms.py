"""One word for each thing: a file's synonyms are renamed in place; what has no effect, or is refused, is told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from liteq_flow.reader.misread import misread
from liteq_flow.reader.words import (
    IN_HANDLERS,
    IN_STEP,
    NO_EFFECT,
    NO_EFFECT_IN_STEP,
    REFUSED,
    REFUSED_IN_SCHEDULE,
    REFUSED_IN_STEP,
    SYNONYMS,
    SYNONYMS_IN_STEP,
)
from liteq_flow.reader.yaml_places import Path, Spot
from liteq_flow.schemas.schema import DOCUMENT, STEP
from liteq_flow.values import NAMESPACES, OUT, SHORT

__all__ = ["Said", "settle"]

Said = tuple[Path, str, bool]  # a path, what is said of it, and whether the file is refused for it
BARE = re.compile(r"(?<!\\)(\$\{(?:steps\.)?)([A-Za-z_][A-Za-z0-9_]*)(?=\.(?!outputs?[.}\[])[A-Za-z0-9_])")
INSIDE = re.compile(r"(?<!\\)\$\{([A-Za-z_][A-Za-z0-9_]*)(?=[.\[][A-Za-z0-9_])")
AT_ONCE = "steps that run at the same time stand in the list as others: give them one `depends`, and what follows them"
CAMEL = re.compile(r"(?<=[a-z0-9])[A-Z]")


def settle(root: Spot) -> Iterator[Said]:
    """Rename what has another word, take out what is refused; yields what is to be told.

    What a path names is there until the next one is asked for.
    """
    if not isinstance(root.value, dict):
        return
    yield from _rename(root, (), SYNONYMS, DOCUMENT["properties"], REFUSED)
    yield from _take_out(root, (), REFUSED, NO_EFFECT)
    words = root.value
    if isinstance(one := _value(words.get("type")), str) and one in {"agent", "build"}:
        yield ("type",), f"{one!r} is not known here; use `agent:` steps or `task:`, a function of an app", True
        del words["type"]
    if isinstance(times := words.get("schedule"), Spot) and isinstance(times.value, dict):
        yield from _take_out(times, ("schedule",), REFUSED_IN_SCHEDULE, {})
    if isinstance(handlers := words.get("handler_on"), Spot) and isinstance(handlers.value, dict):
        yield from _rename(
            handlers, ("handler_on",), IN_HANDLERS, DOCUMENT["properties"]["handler_on"]["properties"], {}
        )
    if isinstance(defaults := words.get("defaults"), Spot):
        yield from _step(defaults, ("defaults",))
    yield from _as_list(words.get("steps"))
    for path, step in _steps(words):
        yield from _step(step, path)
    ids = frozenset(_under("id", root)) - SHORT.keys()
    names = frozenset(_under("output", root)) - {*ids, *_under("name", root), *NAMESPACES, *SHORT}
    yield from ((path, what, True) for path, what in misread(root, ids | names))
    _whole_references(root, ids, names)


def _under(word: str, spot: Spot) -> Iterator[str]:
    """The texts that stand under `word`, at any depth: the ids of steps, or the names of their outputs."""
    if isinstance(spot.value, dict):
        if isinstance(one := _value(spot.value.get(word)), str):
            yield one
        for inner in spot.value.values():
            yield from _under(word, inner)
    elif isinstance(spot.value, list):
        for inner in spot.value:
            yield from _under(word, inner)


def _whole_references(spot: Spot, ids: frozenset[str], names: frozenset[str]) -> None:
    """Write `${id.x}` and `${steps.id.x}` out as `${id.outputs.x}`, where `id` is that of a step.

    And `${NAME.x}` as a path into the text of `output: NAME`, where no step is called so.
    """

    def whole(match: re.Match[str]) -> str:
        return match[0] if match[2] not in ids else f"{match[0]}.outputs"

    def inside(match: re.Match[str]) -> str:
        return match[0] if match[1] not in names else f"${{{OUT}.{match[1]}"

    if isinstance(spot.value, str):
        spot.value = INSIDE.sub(inside, BARE.sub(whole, spot.value))
    for inner in (spot.value.values() if isinstance(spot.value, dict) else spot.value) if spot.is_collection else ():
        _whole_references(inner, ids, names)


def _value(spot: Spot | None) -> object:
    return None if spot is None else spot.value


def _steps(words: Mapping[str, Spot]) -> Iterator[tuple[Path, Spot]]:
    for name in ("steps", "handler_on"):
        inside = _value(words.get(name))
        pairs = enumerate(inside) if isinstance(inside, list) else inside.items() if isinstance(inside, dict) else ()
        for key, step in pairs:
            yield (name, key), step


def _as_list(steps: Spot | None) -> Iterator[Said]:
    """Steps in Dagu's other forms, told and then read on as if they stood in the list: by name, and lists in it."""
    if steps is None:
        return
    if isinstance(steps.value, dict):
        yield ("steps",), "the steps are a list: write `- id: NAME` where `NAME:` stands, and `depends` as it is", True
        for name, one in steps.value.items():
            if isinstance(one.value, dict):
                one.value.setdefault("name", Spot(name, one.line))
        steps.value = list(steps.value.values())
    if not isinstance(steps.value, list):
        return
    flat: list[Spot] = []
    for index, one in enumerate(steps.value):
        if isinstance(one.value, list):
            yield ("steps", index), f"{AT_ONCE} the ids of all of them", True
        flat += one.value if isinstance(one.value, list) else [one]
    steps.value = flat


def _step(step: Spot, path: Path) -> Iterator[Said]:
    if isinstance(step.value, str):  # `- echo hello`
        step.value = {"run": Spot(step.value, step.line, step.raw)}
    if not isinstance(step.value, dict):
        return
    yield from _legacy(step.value, path)
    yield from _rename(step, path, SYNONYMS_IN_STEP, STEP["properties"], REFUSED_IN_STEP)
    yield from _take_out(step, path, REFUSED_IN_STEP, NO_EFFECT_IN_STEP)
    words = step.value
    for word, synonyms in IN_STEP.items():
        inside = words.get(word)
        if inside is not None and isinstance(inside.value, dict):
            known = STEP["properties"][word].get("properties", {})
            yield from _rename(inside, (*path, word), synonyms, known, {})
    if (shell := words.pop("shell", None)) is not None:
        given = words.setdefault("with", Spot({}, shell.line))
        if isinstance(given.value, dict):
            given.value.setdefault("shell", shell)
    if isinstance(each := words.get("foreach"), Spot) and isinstance(each.value, dict):
        body = _value(each.value.get("steps"))
        for index, one in enumerate(body if isinstance(body, list) else ()):
            yield from _step(one, (*path, "foreach", "steps", index))
    if isinstance(undo := words.get("compensate"), Spot):
        if isinstance(undo.value, str):
            undo.value = {"task": Spot(undo.value, undo.line, undo.raw)}
        yield from _step(undo, (*path, "compensate"))


def _legacy(words: dict[str, Spot], path: Path) -> Iterator[Said]:
    """Forms that are more than another word."""
    # Before version 2 `run: NAME` called another flow; a command has no params, so with these nothing else is meant.
    call = words.pop("call", None) or (words.pop("run", None) if "params" in words else None)
    if call is not None:
        inside = {"dag": Spot(call.value, call.line, call.raw)}
        if (params := words.pop("params", None)) is not None:
            inside["params"] = params
        words["action"] = Spot("dag.run", call.line, said=call.said or "call", key_line=call.key_line)
        words["with"] = Spot(inside, call.line)
    command = words.get("command")
    if command is not None and "script" in words:  # the interpreter, and what it reads
        del words["command"]
        shell = Spot(command.value, command.line, command.raw, "command", command.key_at, command.key_line)
        words["with"] = Spot({"shell": shell}, command.line)
    elif command is not None and isinstance(command.value, list):  # one command in its words
        yield (*path, "command"), "a list of words is one command: use `action: exec` with `command` and `args`", True
        del words["command"]
    if (args := words.pop("args", None)) is not None:
        words["args"] = args
        yield (*path, "args"), "put the arguments into `run`, or use `action: exec` with `command` and `args`", True
        del words["args"]


def _rename(
    spot: Spot, path: Path, synonyms: Mapping[str, str], known: Mapping[str, object], refused: Mapping[str, str]
) -> Iterator[Said]:
    """Rename the keys of a mapping, which keeps its order."""
    made: dict[str, Spot] = {}
    for key, value in spot.value.items():
        word = key
        if key not in known and key not in refused:
            snake = CAMEL.sub(lambda match: "_" + match[0].lower(), key)
            word = synonyms.get(key, synonyms.get(snake, snake if snake in known or snake in refused else key))
        if word != key:
            value.said = value.said or key
        if word in made or (word != key and word in spot.value):
            yield (*path, key), f"{key!r} and {word!r} say the same; keep one", True
            continue
        made[word] = value
    spot.value = made


def _take_out(spot: Spot, path: Path, refused: Mapping[str, str], no_effect: Mapping[str, str]) -> Iterator[Said]:
    for key in list(spot.value):
        if why := refused.get(key):
            yield (*path, key), f"{key!r} is not known here: {why}", True
            del spot.value[key]
        elif why := no_effect.get(key):
            yield (*path, key), f"{key!r} has no effect: {why}", False
