"""The determinism lint: calls in a workflow's body that a replay may answer otherwise. An AST walk at decoration.

A body is run anew after each wait. Its clock, its random numbers and its effects on the world belong into steps, or
come from `ctx`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from liteq.exceptions import DeterminismWarning

__all__ = ["findings", "warn_of"]

IN_A_STEP = "do it in a step (`@app.step`, `ctx.run`)"
CLOCK, RANDOM = "use ctx.now()", "use ctx.random"
CALLS = {
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "time.monotonic": CLOCK,
    "time.perf_counter": CLOCK,
    "time.sleep": "use ctx.sleep(), which holds no worker",
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "datetime.date.today": CLOCK,
    "uuid.uuid1": "use ctx.uuid()",
    "uuid.uuid4": "use ctx.uuid()",
    "os.urandom": RANDOM,
    "open": IN_A_STEP,
    "asyncio.wait": "use asyncio.gather, asyncio.TaskGroup or actx.race",
    "asyncio.as_completed": "use asyncio.gather, asyncio.TaskGroup or actx.race",
    "asyncio.wait_for": "give the step a timeout=, or use actx.race with actx.timer",
    "asyncio.timeout": "give the step a timeout=, or use actx.race with actx.timer",
    "asyncio.sleep": "use actx.sleep()",
}
MODULES = {"random": RANDOM, "secrets": RANDOM, "requests": IN_A_STEP, "httpx": IN_A_STEP, "urllib.request": IN_A_STEP}
SWALLOWED = (
    "it catches the exception that ends the activation when the body waits: name the exceptions, or `raise` in it"
)
UNORDERED = "a set has a different order in each process: sort it"


def warn_of(function: Callable[..., Any]) -> None:
    """Give a DeterminismWarning, at its line, for each finding in the source of `function`."""
    found = findings(function)
    code = inspect.unwrap(function).__code__ if found else None
    for line, text in found:
        assert code is not None
        warnings.warn_explicit(
            f"workflow {function.__qualname__!r}: {text}",
            DeterminismWarning,
            code.co_filename,
            line,
            function.__module__,
        )


def findings(function: Callable[..., Any]) -> list[tuple[int, str]]:
    """(line, what and the way out) of each finding; [] where the source is not to be had."""
    function = inspect.unwrap(function)
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return []
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    names = _Names(function, body)
    return [(first + node.lineno - 1, text) for node in _nodes(body, _in_steps(body)) for text in _of(node, names)]


def _in_steps(body: ast.AST) -> frozenset[Any]:
    """The lambdas, and the names of functions, that the body runs as steps: `ctx.run(fn)`, `ctx.step("name", fn)`."""
    found: set[Any] = set()
    for node in ast.walk(body):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="ctx" | "actx"), attr="run" | "step"), args=args):
                found |= {one.id if isinstance(one, ast.Name) else one for one in args[:2]}
    return frozenset(found)


def _nodes(body: ast.AST, in_steps: frozenset[Any]) -> Iterator[Any]:
    """The nodes that the body itself runs: not those of steps that are defined in it."""
    for node in ast.iter_child_nodes(body):
        decorated = getattr(node, "decorator_list", ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node.name in in_steps or any("step" in ast.dump(one) for one in decorated)
        ):
            continue
        if isinstance(node, ast.Lambda) and node in in_steps:
            continue
        if hasattr(node, "lineno") and node not in getattr(body, "decorator_list", ()):
            yield node
        yield from _nodes(node, in_steps)


def _of(node: Any, names: _Names) -> Iterator[str]:
    match node:
        case ast.ExceptHandler(type=caught):
            bare = caught is None or names.of(caught) == "BaseException"
            if bare and not any(isinstance(one, ast.Raise) for part in node.body for one in ast.walk(part)):
                yield f"`except{'' if caught is None else ' BaseException'}:`: {SWALLOWED}"
        case ast.Call(func=func):
            called = names.of(func)
            remedy = (
                CALLS.get(called) or MODULES.get(called.rpartition(".")[0]) or MODULES.get(called.partition(".")[0])
            )
            if remedy is not None:
                yield f"{called}(): {remedy}"
        case ast.For(iter=over) | ast.AsyncFor(iter=over):
            if _is_set(over):
                yield f"a loop over a set: {UNORDERED}"
        case ast.ListComp() | ast.GeneratorExp() | ast.DictComp():
            if any(_is_set(one.iter) for one in node.generators):
                yield f"a loop over a set: {UNORDERED}"


def _is_set(node: ast.AST) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
    return False


def _cells(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """The names of the closure that have a value by now."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue


class _Names:
    """From the names in a function to what they stand for: "datetime.datetime.now" for `dt.now`."""

    def __init__(self, function: Callable[..., Any], body: ast.AST) -> None:
        self._globals = function.__globals__
        self._closure = dict(_cells(function))
        self._imported: dict[str, str] = {}
        for node in ast.walk(body):
            if isinstance(node, ast.Import):
                self._imported |= {one.asname or one.name: one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                self._imported |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}

    def of(self, node: ast.AST) -> str:
        """The dotted name of an expression; "" for one that has none."""
        match node:
            case ast.Attribute(value=value, attr=attr):
                inner = self.of(value)
                return f"{inner}.{attr}" if inner else ""
            case ast.Name(id=name):
                return self._imported.get(name) or self._resolved(name)
        return ""

    def _resolved(self, name: str) -> str:
        missing = object()
        found = self._closure.get(name, self._globals.get(name, missing))
        if found is missing:
            return name
        if isinstance(found, types.ModuleType):
            return found.__name__
        qualname = getattr(found, "__qualname__", None)
        return (
            f"{found.__module__}.{qualname}"
            if isinstance(qualname, str) and getattr(found, "__module__", None)
            else name
        )
