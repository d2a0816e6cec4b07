"""Python sources: read as a syntax tree, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from liteq.app import LiteQ
from liteq.app.control import Control, Inspect
from liteq.cli.compat.upgrade.facts import (
    LATE,
    PACKAGES,
    Finding,
    Severity,
    Verdict,
    is_setting,
    of_import,
    of_setting,
    of_task_option,
)

__all__ = ["check_source"]

SENDERS = frozenset({"apply_async", "send_task", "retry"})
CONF = frozenset({"conf"})


def check_source(file: str, text: str) -> list[Finding]:
    """The findings about a Python file. One that does not parse is a finding itself."""
    try:
        tree = ast.parse(text, file)
    except (SyntaxError, ValueError, RecursionError) as exc:
        return [Finding(file, getattr(exc, "lineno", None) or 1, Severity.NOTE, "not Python 3", f"not read: {exc}")]
    reader = _Reader(file)
    try:
        reader.visit(tree)
    except RecursionError:  # a long sum, or a long chain of calls, is a deep tree
        reader.say(tree, "an expression", (Severity.NOTE, "nested too deeply: the file was not read to its end"))
    return reader.findings


class _Reader(ast.NodeVisitor):
    """One pass over a file, collecting findings."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self._apps: set[str] = set()  # names that are surely an app: `app` alone may be Flask's
        self._uses_celery = False

    def say(self, node: ast.AST, what: str, verdict: Verdict | None) -> None:
        if verdict is not None:
            self.findings.append(Finding(self.file, getattr(node, "lineno", 1), verdict[0], what, verdict[1]))

    # -- what a file takes from Celery

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._uses_celery |= alias.name.partition(".")[0] == "celery"
            self._import(node, f"import {alias.name}", alias.name, None)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            return
        self._uses_celery |= node.module.partition(".")[0] == "celery"
        for alias in node.names:
            self._import(node, f"from {node.module} import {alias.name}", node.module, alias.name)
            if (node.module, alias.name) == ("celery", "current_app"):
                self._apps.add(alias.asname or alias.name)

    def _import(self, node: ast.AST, text: str, module: str, name: str | None) -> None:
        root = module.partition(".")[0]
        self.say(node, f"the package {root}" if root in PACKAGES else text, of_import(module, name))

    # -- tasks

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = _last(call)
            if name not in {"task", "shared_task", "periodic_task"}:
                continue
            if name == "periodic_task":
                self.say(decorator, "@periodic_task", (Severity.MISSING, "gone since Celery 4: `beat_schedule`"))
                continue
            options = decorator.keywords if isinstance(decorator, ast.Call) else []
            for option in options:
                if option.arg:
                    self.say(
                        decorator, f"{option.arg}= of {node.name}", of_task_option(option.arg, _constant(option.value))
                    )
            if not any(option.arg == "acks_late" for option in options):
                self.say(decorator, f"the task {node.name}", (Severity.NOTE, LATE))
        self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    # -- what is set

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Call) and _last(node.value.func) == "Celery":
            self._apps |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        for target in node.targets:
            match target:
                case ast.Name(id=name) if name.startswith("CELERY_") or is_setting(name):
                    self._setting(node, name, node.value)
                case ast.Attribute(attr=name, value=value) if _last(value) in CONF:
                    self._setting(node, name, node.value)
                case ast.Subscript(value=value, slice=ast.Constant(value=str(name))) if _last(value) in CONF:
                    self._setting(node, name, node.value)
        self.generic_visit(node)

    def _setting(self, node: ast.AST, name: str, value: ast.expr) -> None:
        if not is_setting(name) and name.startswith("CELERY_") and is_setting(name[7:].lower()):
            name = name[7:].lower()
            self.say(node, f"the setting {name}", of_setting(name, _constant(value)))
        elif is_setting(name):
            self.say(node, f"the setting {name}", of_setting(name, _constant(value)))

    def _settings_of(self, call: ast.Call) -> None:
        for keyword in call.keywords:
            if keyword.arg:
                self._setting(keyword.value, keyword.arg, keyword.value)
        for argument in call.args:
            if isinstance(argument, ast.Dict):
                for key, value in zip(argument.keys, argument.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        self._setting(key, key.value, value)

    # -- calls

    def visit_Call(self, node: ast.Call) -> None:
        name = _last(node.func)
        owner = _last(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name == "Celery" and self._uses_celery:
            self._app(node)
        elif (name == "update" and owner in CONF) or name in {"config_from_object", "add_defaults"}:
            self._settings_of(node)
        elif name in SENDERS:
            for option in node.keywords:
                if option.arg:
                    self.say(node, f"{name}({option.arg}=)", of_task_option(option.arg, _constant(option.value)))
        self.generic_visit(node)

    def _app(self, node: ast.Call) -> None:
        for option in node.keywords:
            match option.arg:
                case "broker" | "broker_url":
                    self.say(node, "Celery(broker=)", of_setting("broker_url", _constant(option.value)))
                case "backend":
                    self.say(node, "Celery(backend=)", of_setting("result_backend", _constant(option.value)))
                case "loader" | "amqp" | "events" | "log" | "control":
                    self.say(
                        node, f"Celery({option.arg}=)", (Severity.MISSING, "parts of an app are not exchanged here")
                    )
                case str(name):
                    self._setting(node, name, option.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = _last(node.value)
        if (
            self._uses_celery
            and isinstance(node.value, ast.Name)
            and owner in self._apps
            and not _has(LiteQ, node.attr)
        ):
            self.say(node, f"{owner}.{node.attr}", (Severity.MISSING, NOWHERE))
        elif owner == "control" and isinstance(node.value, ast.Attribute) and not _has(Control, node.attr):
            self.say(node, f"control.{node.attr}", (Severity.MISSING, NOWHERE))
        elif _is_inspect(node.value) and not _has(Inspect, node.attr):
            self.say(node, f"inspect().{node.attr}", (Severity.MISSING, NOWHERE))
        self.generic_visit(node)


NOWHERE = "liteq has no such attribute"
OF_INSTANCES = frozenset(
    """
    app clock finalized main name namespace on_after_configure on_after_finalize on_after_fork on_configure
    set_as_current task_cls user_options
    """.split()  # noqa: SIM905 - a list of names
)


def _has(kind: type, name: str) -> bool:
    return name.startswith("_") or name in OF_INSTANCES or hasattr(kind, name)


def _is_inspect(node: ast.AST) -> bool:
    """Whether it is `....control.inspect(...)`."""
    match node:
        case ast.Call(func=ast.Attribute(attr="inspect", value=owner)):
            return _last(owner) == "control"
    return False


def _last(node: ast.AST) -> str:
    """The last name of `a.b.c`, of the function of a call; "" for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _last(function)
    return ""


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def lines_of_commands(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of a text, with lines joined that a backslash continues."""
    pending, start = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if not pending:
            start = number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
            continue
        yield start, pending + line
        pending = ""
    if pending:
        yield start, pending
