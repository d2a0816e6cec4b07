"""References: `${...}` in texts, found in a scope; and the two ways into a document, decode and select."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from liteq_flow.errors import UnknownReference

__all__ = [
    "ABSENT", "NAMESPACES", "OUT", "PATH", "SHORT", "Reference", "Scope", "decode", "is_select", "reference",
    "references", "resolve", "select", "text_of",
]  # fmt: skip

Json = Any
ABSENT: Final = object()

OUT = "__output"  # before the NAME of `output: NAME`, where a path goes into its JSON: Dagu's `${NAME.a.b}`
NAMESPACES = ("params", "env", "consts", "steps", "foreach", "ITEM", "context")
# Dagu's short names, which stand for `context.` and the same.
SHORT = {
    "dag": ("name",), "run": ("id", "status", "started_at", "scheduled_at", "root_name", "root_id"),
    "attempt": ("id", "started_at"), "step": ("id", "name"), "trigger": ("type", "actor"),
    "paths": ("log_file", "work_dir", "artifacts_dir", "step_stdout_file", "step_stderr_file", "step_output_file"),
}  # fmt: skip

PATH = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+|\[[0-9]+\])*"
BRACED = re.compile(r"\$\{(" + PATH + r")\}")
ANY = re.compile(r"(\\*)\$(?:\{(" + PATH + r")\}|([A-Za-z_][A-Za-z0-9_]*))")
PART = re.compile(r"[A-Za-z0-9_]+")
SELECT = re.compile(r"""\.(?:[A-Za-z_][A-Za-z0-9_-]*)?(?:\.[A-Za-z_][A-Za-z0-9_-]*|\[(?:[0-9]+|"[^"\\]*")\])*""")
STEP_OF_SELECT = re.compile(r"""\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(?:([0-9]+)|"([^"\\]*)")\]""")


@dataclass(frozen=True, slots=True)
class Reference:
    """A thing that a text names. `root` is one of NAMESPACES, or "variable" for `$NAME` and `${NAME}`."""

    root: str
    path: tuple[str, ...]
    text: str
    """As it stands: "${params.day}"."""


def reference(inner: str) -> Reference | None:
    """The reference that `${inner}` is; None where it is none of ours, and stays text."""
    root, *rest = PART.findall(inner)
    text = "${" + inner.removeprefix(f"{OUT}.") + "}"
    if root == OUT and rest:
        return Reference(OUT, tuple(rest), text)
    if rest and root in SHORT and rest[0] in SHORT[root] and len(rest) == 1:
        return Reference("context", (root, *rest), text)
    if root in NAMESPACES:
        return Reference(root, tuple(rest), text) if rest or root in {"params", "ITEM"} else None
    if rest and rest[0] in {"output", "outputs"}:
        return Reference("steps", (root, *rest), text)
    return None if rest else Reference("variable", (root,), text)


def references(value: Json) -> Iterator[Reference]:
    """Those in a document's texts, outside of commands."""
    if isinstance(value, str):
        for match in ANY.finditer(value):
            if len(match[1]) % 2 == 0:
                found = reference(match[2]) if match[2] else Reference("variable", (match[3],), "$" + match[3])
                if found is not None:
                    yield found
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from references(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from references(one)


Lookup = Callable[[Reference], Json]


def resolve(value: Json, lookup: Lookup) -> Json:
    """`value` with its references found, at any depth. One that is a text's whole keeps its type.

    A `$NAME` that nobody knows stays as it is. Raises UnknownReference for any other.
    """
    if isinstance(value, str):
        return _resolve_text(value, lookup)
    if isinstance(value, Mapping):
        return {key: resolve(one, lookup) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(one, lookup) for one in value]
    return value


def _resolve_text(text: str, lookup: Lookup) -> Json:
    if "$" not in text:
        return text
    whole = BRACED.fullmatch(text)
    if whole and (found := reference(whole[1])) is not None:
        return _found(found, lookup)

    def filled(match: re.Match[str]) -> str:
        slashes = match[1]
        if len(slashes) % 2:  # the last one keeps the `$` from being a reference, and goes
            return slashes[:-1] + match[0][len(slashes) :]
        one = reference(match[2]) if match[2] else Reference("variable", (match[3],), "$" + match[3])
        return match[0] if one is None else slashes + text_of(_found(one, lookup))

    return ANY.sub(filled, text)


def _found(one: Reference, lookup: Lookup) -> Json:
    try:
        return lookup(one)
    except UnknownReference:
        if one.root == "variable":
            return one.text
        raise


def text_of(value: Json) -> str:
    """A value as text: JSON but for texts, which are themselves, and None, which is empty."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class Scope:
    """The values that the references of one step can find. Called with a Reference; raises UnknownReference."""

    params: Mapping[str, Json] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    """The environment of the step's command, whole."""
    consts: Mapping[str, Json] = field(default_factory=dict)
    outputs: Mapping[str, Json] = field(default_factory=dict)
    """By a step's id: its outputs by name; or a text or a list, of a step with `output: NAME` alone."""
    variables: Mapping[str, Json] = field(default_factory=dict)
    """The texts that `output: NAME` took, by that name."""
    context: Mapping[str, Json] = field(default_factory=dict)
    """{"run": {"id": ...}, "paths": {...}, ...}"""
    foreach: Mapping[str, Json] = field(default_factory=dict)
    """{"index": 0, "key": ..., AS: item} of the item's step."""
    item: Json = ABSENT
    """Of `parallel`."""

    def __call__(self, one: Reference) -> Json:
        """The value of a reference. Raises UnknownReference."""
        path = one.path
        match one.root:
            case "variable":
                start: Json = next((place for place in (self.variables, self.env, self.params) if path[0] in place), {})
            case "ITEM":
                start = self.item
            case _ if one.root == OUT:
                start, path = self._in_json(one)
            case "steps":
                start, path = self._outputs_of(path)
            case root:
                start = getattr(self, root)
        for part in path:
            start = _into(start, part, one)
        if start is ABSENT:
            raise UnknownReference(one.text, "there is no item here")
        return start

    def _outputs_of(self, path: tuple[str, ...]) -> tuple[Json, tuple[str, ...]]:
        """`id.outputs.x` looks into the outputs of the step `id`."""
        step, _word, *rest = (*path, "outputs") if len(path) == 1 else path
        return self.outputs, (step, *rest)

    def _in_json(self, one: Reference) -> tuple[Json, tuple[str, ...]]:
        """`NAME.a.b` looks into the JSON that `output: NAME` took; of a called flow, `NAME.outputs.a` as well."""
        name, *path = one.path
        if name not in self.variables:
            raise UnknownReference(one.text, f"no step before this one has written `output: {name}`")
        try:
            found = json.loads(text_of(self.variables[name]))
        except ValueError:
            raise UnknownReference(one.text, f"`output: {name}` is no JSON, so there is nothing in it") from None
        if path[:1] == ["outputs"] and isinstance(found, Mapping) and "outputs" not in found:
            del path[0]
        return found, tuple(path)


def _into(value: Json, part: str, one: Reference) -> Json:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    raise UnknownReference(one.text, f"there is no {part!r}")


# -- into what a step wrote ------------------------------------------------------------------------------------------


def decode(text: str, how: str) -> Json:
    """The value of a text as "text" (without the line's end), "json" or "yaml". Raises ValueError."""
    if how == "text":
        return text.rstrip("\r\n")
    if how == "json":
        return json.loads(text)
    from liteq_flow.errors import FlowRefused
    from liteq_flow.reader.yaml_places import documents

    try:
        found = documents(text, "the text")
    except FlowRefused as exc:
        raise ValueError(str(exc)) from None
    if len(found) > 1:
        raise ValueError(f"{len(found)} documents, where one is meant")
    return found[0].plain if found else None


def is_select(path: str) -> bool:
    """Whether it is a path such as `.a.b[0]`."""
    return SELECT.fullmatch(path) is not None


def select(document: Json, path: str) -> Json:
    """The part of a document at a path such as `.a.b[0]`. Raises ValueError where it is not there."""
    found = document
    for name, index, key in STEP_OF_SELECT.findall(path):
        if index and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        elif not index and isinstance(found, Mapping) and (name or key) in found:
            found = found[name or key]
        else:
            raise ValueError(f"there is no {path} in it: nothing at {name or index or key!r}")
    return found
