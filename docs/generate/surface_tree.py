"""The sources as trees: where a public name is defined, and its form. Read, not imported: no framework is needed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from surface_row import ROOT

__all__ = ["Definition", "Function", "definition", "exported", "form_of", "members", "parsed"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
LONGEST = 120  # characters of a form; the page of the API has the whole of it


class Definition(NamedTuple):
    """A name and where its definition stands; `node` is None for a name from outside."""

    module: str
    node: ast.AST | None

    @property
    def kind(self) -> str:
        """Class, function or data."""
        if isinstance(self.node, ast.ClassDef):
            return "class"
        return "function" if isinstance(self.node, Function) else "data"


@cache
def parsed(module: str) -> ast.Module | None:
    """The tree of a module of this repository; None for one of another."""
    path = module.replace(".", "/")
    for root in (ROOT, ROOT / "contrib"):
        for file in (root / f"{path}.py", root / path / "__init__.py"):
            if file.exists():
                return ast.parse(file.read_text(encoding="utf-8"))
    return None


def exported(module: str) -> list[str]:
    """The names of the module's `__all__`, sorted."""
    tree = parsed(module)
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return sorted(str(one.value) for one in ast.walk(node.value) if isinstance(one, ast.Constant))
    return []


def definition(module: str, name: str, hops: int = 0) -> Definition:
    """Where `name` of `module` is defined, through imports and the tables of names that are loaded when first used."""
    tree = parsed(module)
    if tree is None or hops > 8:
        return Definition(module, None)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and node.name == name:
            return Definition(module, node)
    for part in ast.walk(tree):
        if isinstance(part, ast.ImportFrom) and part.module:
            for one in part.names:
                if (one.asname or one.name) == name:
                    return definition(part.module, one.name, hops + 1)
        if isinstance(part, ast.Dict) and (home := _home(part, name)):
            return definition(home if parsed(home) else f"{module}.{home}", name, hops + 1)
    return Definition(module, tree)


def _home(node: ast.Dict, name: str) -> str | None:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == name and isinstance(value, ast.Constant):
            home = str(value.value)
            return home if home.replace(".", "").replace("_", "").isalnum() else None
    return None


def form_of(found: Definition) -> str:
    """The parameters, in short: `(name, args=, *, countdown=)`; "" for data."""
    node = found.node
    if isinstance(node, Function):
        return _cut(_parameters(node))
    if not isinstance(node, ast.ClassDef):
        return ""
    for one in lineage(found.module, node):
        for part in one.body:
            if isinstance(part, Function) and part.name == "__init__":
                return _cut(_parameters(part))
        if _has_fields(one):
            fields = [
                part for part in one.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
            ]
            names = [f"{part.target.id}{'=' if part.value else ''}" for part in fields]  # type: ignore[union-attr]
            return _cut(f"({', '.join(one for one in names if not one.startswith('_'))})")
    return ""


def _has_fields(node: ast.ClassDef) -> bool:
    said = [ast.unparse(one) for one in (*node.decorator_list, *node.bases)]
    return any(one.startswith("dataclass") or one.endswith("NamedTuple") for one in said)


def lineage(module: str, node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The class, and those of this repository that it inherits from, nearest first."""
    yield node
    for written in node.bases:
        base = written.value if isinstance(written, ast.Subscript) else written  # `Base[P, R]`
        if isinstance(base, ast.Name):
            found = definition(module, base.id)
            if isinstance(found.node, ast.ClassDef) and found.node is not node:
                yield from lineage(found.module, found.node)


def members(found: Definition, *, inherited: bool) -> Iterator[tuple[str, str, str]]:
    """The public members of a class that have a docstring: name, kind and form."""
    if not isinstance(found.node, ast.ClassDef):
        return
    seen: set[str] = set()
    for one in lineage(found.module, found.node):
        for part in one.body:
            if not isinstance(part, Function) or part.name.startswith("_") or part.name in seen:
                continue
            if ast.get_docstring(part) is None:  # an overload, or undocumented
                continue
            seen.add(part.name)
            decorators = {ast.unparse(d).rpartition(".")[2] for d in part.decorator_list}
            if decorators & {"property", "cached_property"}:
                yield part.name, "attribute", ""
            elif "setter" not in decorators:
                static = "staticmethod" in decorators
                yield part.name, "method", _cut(_parameters(part, bound=not static))
        if not inherited:
            return


def _parameters(node: Function, *, bound: bool = True) -> str:
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    first_default = len(plain) - len(given.defaults)
    parts = [one.arg + ("=" if n >= first_default else "") for n, one in enumerate(plain)]
    if given.posonlyargs:
        parts.insert(len(given.posonlyargs), "/")
    if bound and parts and parts[0] in {"self", "cls"}:
        parts = [one for one in parts[1:] if one != "/" or len(given.posonlyargs) > 1]
    if given.vararg or given.kwonlyargs:
        parts.append(f"*{given.vararg.arg}" if given.vararg else "*")
    pairs = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    parts += [one.arg + ("=" if default is not None else "") for one, default in pairs]
    if given.kwarg:
        parts.append(f"**{given.kwarg.arg}")
    return f"({', '.join(parts)})"


def _cut(form: str) -> str:
    if len(form) <= LONGEST:
        return form
    return form[: form.rindex(",", 0, LONGEST)] + ", ...)"
