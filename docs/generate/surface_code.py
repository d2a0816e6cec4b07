"""Rows of what programs import and write: names, options, exceptions and signals."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from surface_row import ROOT, Row, shipped
from surface_tree import Definition, Function, definition, exported, form_of, members, parsed

from liteq.app.options import TaskOptions
from liteq.app.schedules import OF_AN_ENTRY
from liteq.sending.options import OF_A_CALL, WITHOUT_EFFECT

__all__ = ["of_calls", "of_events", "of_exceptions", "of_names", "of_options", "of_signals", "of_variables"]

REFERENCE = ROOT / "docs" / "reference" / "api"
DIRECTIVE = re.compile(r"^\.\. (?:py:)?(\w+):: ([\w.]+)((?:\n   +\S.*)*)", re.MULTILINE)
OBJECTS = {"autoclass", "autofunction", "autodata", "autoexception", "autodecorator", "class", "data", "function"}
# Calls whose options are keywords of a function, and the words under which the table has them.
TAKERS: Mapping[str, tuple[str, str]] = {
    "`LiteQ(...)`": ("liteq.app.base", "LiteQ.__init__"),
    "`@app.workflow`": ("liteq.app.workflows", "Workflows.workflow"),
    "`@app.step`": ("liteq.app.workflows", "Workflows.step"),
}
EVENT = re.compile(r'"((?:task|worker)-[a-z]+)"')
VARIABLE = re.compile(r'"(LITEQ_[A-Z]+(?:_[A-Z]+)*)"')


class Named(NamedTuple):
    """A name that the reference of the API has."""

    module: str
    name: str
    inherited: bool
    hidden: frozenset[str]  # members that the page leaves out
    shown: frozenset[str]  # the only ones that it has; empty: all


def of_names() -> Iterator[Row]:
    """Each name that the reference of the API has, and the members of classes."""
    seen: set[tuple[str, str]] = set()
    for named in documented():
        whole = f"{named.module}.{named.name}"
        found = _found(named)
        place = (found.module, named.name)
        if place in seen:
            continue
        seen.add(place)
        if is_exception(found):
            continue  # has a table of its own
        form = form_of(found)
        yield Row("name", whole, found.kind, f"`{form}`" if form else "")
        if found.kind == "class":
            for name, kind, parameters in members(found, inherited=named.inherited):
                if name not in named.hidden and (not named.shown or name in named.shown):
                    yield Row("name", f"{whole}.{name}", kind, f"`{parameters}`" if parameters else "")


def documented() -> Iterator[Named]:
    """The names of docs/reference/api, by page; then those that packages offer without one."""
    for page in sorted(REFERENCE.glob("*.md")):
        module = ""
        for directive, name, body in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if directive in {"module", "currentmodule"}:
                module = name
            elif directive == "automodule":
                module = name
                yield from (Named(name, one, False, frozenset(), frozenset()) for one in exported(name))
            elif directive in OBJECTS:
                home, _, own = name.rpartition(".")
                inherited = ":inherited-members:" in body
                yield Named(home or module, own, inherited, _words("exclude-members", body), _words("members", body))
    for module in (
        "liteq",
        "liteq.app.control",
        *sorted(path.parent.name for path in ROOT.glob("contrib/*/__init__.py")),
    ):
        yield from (Named(module, one, False, frozenset(), frozenset()) for one in exported(module))


def _words(option: str, body: str) -> frozenset[str]:
    """The names that an option of a directive has, which may go over several lines."""
    found = re.search(rf"^ +:{option}:((?:.*\n(?! +:))*.*)", body, re.MULTILINE)
    return frozenset(re.findall(r"\w+", found[1])) if found else frozenset()


def _found(named: Named) -> Definition:
    found = definition(named.module, named.name)
    if isinstance(found.node, ast.Module) and parsed(named.module) is None:
        module, _, name = named.module.rpartition(".")  # a member: `liteq.app.control.Control.pause`
        return definition(module, name)
    return found


def is_exception(found: Definition) -> bool:
    """Whether a definition is a class of an error or a warning."""
    return isinstance(found.node, ast.ClassDef) and (
        found.module.startswith("liteq.exceptions") or found.node.name.endswith(("Error", "Warning"))
    )


def of_calls() -> Iterator[Row]:
    """The options of a call, of a task, and those of Celery's that are accepted without effect."""
    for name in sorted(OF_A_CALL - WITHOUT_EFFECT):
        yield Row("call", name, "`apply_async`" + (" and `@app.task`" if hasattr(TaskOptions, name) else ""))
    for name in sorted(vars(TaskOptions)):
        is_option = name in TaskOptions.__annotations__ or hasattr(vars(TaskOptions)[name], "setting")
        if is_option and not name.startswith("_") and name not in OF_A_CALL:
            yield Row("call", name, "`@app.task`", _default(vars(TaskOptions)[name]))
    for name in sorted(WITHOUT_EFFECT):
        yield Row("call", name, "`apply_async`; Celery's, without effect")


def _default(value: object) -> str:
    setting = getattr(value, "setting", None)
    if setting:
        return f"the setting `{setting}`"
    plain = isinstance(value, (bool, int, float, str, tuple, dict, type(None)))
    return f"`{value!r}`" if plain and not (isinstance(value, tuple) and value) else ""


def of_options() -> Iterator[Row]:
    """The keywords of apps, workflows and steps, and the keys of an entry of beat."""
    for where, (module, path) in TAKERS.items():
        for name, default in keywords(module, path):
            yield Row("option", name, where, f"`{default}`" if default else "")
    for name in sorted(OF_AN_ENTRY):
        yield Row("option", name, "an entry of `beat_schedule`")


def keywords(module: str, path: str) -> list[tuple[str, str]]:
    """The keywords of a method with their defaults; the positional ones too, without `self`. Raises LookupError."""
    owner, _, method = path.partition(".")
    found = definition(module, owner)
    parts = found.node.body if isinstance(found.node, ast.ClassDef) else []
    several = [one for one in parts if isinstance(one, Function) and one.name == method]
    if not several:
        raise LookupError(f"{module} has no {path}; correct TAKERS in docs/generate/surface_code.py")
    given = max(several, key=lambda one: len(one.args.kwonlyargs)).args
    plain = [*given.posonlyargs, *given.args][1:]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(plain, defaults, strict=False), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [(one.arg, ast.unparse(default) if default is not None else "") for one, default in pairs]


def of_exceptions() -> Iterator[Row]:
    """The exceptions that a program may catch."""
    names = dict.fromkeys((named.module, named.name) for named in documented())
    for module, name in names:
        found = definition(module, name)
        if is_exception(found) and isinstance(found.node, ast.ClassDef):
            bases = ", ".join(f"`{ast.unparse(base)}`" for base in found.node.bases)
            said = (ast.get_docstring(found.node) or "").split("\n\n")[0].replace("\n", " ")
            yield Row("exception", f"{module}.{name}", bases, said)


def of_signals() -> Iterator[Row]:
    """The signals, with the arguments that a receiver gets."""
    from liteq import signals

    for name in exported("liteq.signals"):
        found = getattr(signals, name)
        if isinstance(found, signals.Signal):
            yield Row("signal", name, ", ".join(f"`{one}`" for one in sorted(found.providing_args)))


def of_events() -> Iterator[Row]:
    """The types of events, wherever one is sent or read."""
    for name in sorted(_quoted(EVENT)):
        yield Row("event", name)


def of_variables(settings: frozenset[str]) -> Iterator[Row]:
    """Variables of the environment, and keys of Flask's configuration, that are no setting's."""
    for name, modules in sorted(_quoted(VARIABLE).items()):
        if name not in settings:
            yield Row("environment", name, ", ".join(f"`{one}`" for one in sorted(modules)))


def _quoted(pattern: re.Pattern[str]) -> dict[str, set[str]]:
    """The texts in the shipped sources that the pattern finds, each with the modules that have it."""
    found: dict[str, set[str]] = {}
    for path in shipped():
        for text in pattern.findall(path.read_text(encoding="utf-8")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.setdefault(text, set()).add(".".join(part for part in parts if part not in {"contrib", "__init__"}))
    return found
