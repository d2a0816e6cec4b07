"""No hidden import: a module that is named by a string stands in a listed table, and nowhere else.

import-linter sees import statements alone. A floor that imports a higher one by a string would be a circle that it does
not show.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("liteq", *(p.name for p in ROOT.glob("contrib/liteq_*")))
    for path in sorted((ROOT / folder if folder == "liteq" else ROOT / "contrib" / folder).rglob("*.py"))
]

# Where a module may be named by a string, and why.
TABLES = {
    "liteq/utils/upward.py": "the registry of upward calls",
    "liteq/__init__.py": "HOME: the public names, each loaded when it is first used",
    "liteq/cli/group.py": "COMMANDS: each command is imported when it is run",
    "liteq/cli/demo/demo.py": "the argument -A of processes that it starts",
    "liteq/cli/demo/demo_board.py": "the argument -A of processes that it starts",
    "liteq/storage/sqlite/migrate.py": "the package in which its own SQL files are",
    "liteq/worker/pool/limits.py": "a frame of the module that runs coroutines, which is loaded where one is used",
    "contrib/liteq_celery/names.py": "MODULES: the names of Celery's modules, and their objects in liteq",
    "contrib/liteq_celery/finder.py": "which of its own modules a program may not import as Celery's",
    "contrib/liteq_kombu/alias.py": "the transport, as kombu's table of transports names it",
    "contrib/liteq_otel/attributes.py": "names of attributes: liteq.workflow.declared.step",
    "contrib/liteq_django/__init__.py": "the package's public names, each loaded when it is first used",
    "contrib/liteq_django/apps.py": "the fixup by which an app is made Django's, and the ids of receivers",
    "contrib/liteq_django/fixup.py": "the base class of tasks, imported when the first task is made",
}

# Which modules may import one whose name is not written there, and whose name that is.
IMPORTERS = {
    "liteq/settings/objects.py": "import_object: a name out of the user's settings, or of the registry",
    "liteq/utils/upward.py": "the registry of upward calls",
    "liteq/__init__.py": "HOME",
    "liteq/cli/group.py": "COMMANDS",
    "liteq/cli/parts/find_app.py": "-A: the user's module",
    "liteq/cli/watching/events.py": "--camera: the user's class",
    "liteq/cli/compat/shell.py": "IPython and bpython, where they are installed",
    "liteq/app/compat/celery_app.py": "task_cls and subclass_with_self: the user's base class of tasks",
    "liteq/app/compat/loader.py": "app.loader: the user's modules",
    "liteq/app/discovery.py": "autodiscover_tasks: the user's modules",
    "liteq/app/integrations.py": "fixups: functions of the user's, or of a framework that is in use",
    "liteq/app/settings.py": "payload_codec: the user's class",
    "liteq/app/registrar.py": "include and imports: the user's modules",
    "liteq/routing/routes.py": "task_routes: the user's routers",
    "liteq/worker/pool/prefork/letter.py": "the modules of the user's tasks, and of the user's app",
    "liteq/worker/control/commands.py": "pool_restart: the user's modules",
    "liteq/schedules/sun.py": "astral, where it is installed",
    "liteq/serialization/serializers.py": "libraries of serializers, where they are installed",
    "liteq/serialization/compression.py": "libraries of compressions, where they are installed",
    "contrib/liteq_celery/names.py": "MODULES",
    "contrib/liteq_celery/finder.py": "MODULES",
    "contrib/liteq_dashboard/routes.py": "every file of its pages/",
    "contrib/liteq_django/__init__.py": "the package's public names",
    "contrib/liteq_flow/running/own.py": "task: and agent: of a flow, the user's own",
}

IMPORTING = frozenset({"import_module", "import_object", "__import__"})
LOGGERS = frozenset({"getLogger", "get_logger", "get_task_logger"})
NAME = re.compile(r"(liteq(?:_[a-z]+)?(?:\.\w+)+)(?::[\w.]+)?")


@cache
def is_module(dotted: str) -> bool:
    """Whether a dotted name begins with that of a module below `liteq` or a package of contrib/."""
    home = ROOT if dotted.partition(".")[0] == "liteq" else ROOT / "contrib"
    parts = dotted.split(".")[:2]
    return home.joinpath(*parts).is_dir() or home.joinpath(*parts).with_suffix(".py").exists()


def names_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The strings that name a module, but for docstrings and the names of loggers."""
    loggers = {id(arg) for call in ast.walk(tree) if is_call(call, LOGGERS) for arg in call.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loggers:
            named = NAME.fullmatch(node.value)
            if named is not None and is_module(named.group(1)):
                yield node.lineno, node.value


def imports_in(tree: ast.Module) -> Iterator[int]:
    """The lines on which a module is imported by a call."""
    return (node.lineno for node in ast.walk(tree) if is_call(node, IMPORTING))


def is_call(node: ast.AST, names: frozenset[str]) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in names
    return False


@cache
def parsed() -> dict[str, ast.Module]:
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_a_module_is_named_by_a_string_in_listed_tables_alone():
    found = {(file, *where) for file, tree in parsed().items() for where in names_in(tree)}
    assert sorted(one for one in found if one[0] not in TABLES and not is_name_of_a_logger(one)) == []


def is_name_of_a_logger(found: tuple[str, int, str]) -> bool:
    return found[0] in {"liteq/utils/log.py", "liteq/testing/worker.py"}


def test_a_module_is_imported_by_a_call_in_listed_places_alone():
    found = {(file, line) for file, tree in parsed().items() for line in imports_in(tree)}
    assert sorted(one for one in found if one[0] not in IMPORTERS) == []


def test_celery_itself_is_imported_by_its_transport_alone():
    celery = {
        (file, node.lineno)
        for file, tree in parsed().items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for module in ([node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
        if str(module).partition(".")[0] in {"celery", "kombu", "billiard", "liteq_kombu"}
    }
    assert {file for file, _ in celery if not file.startswith("contrib/liteq_kombu/")} == set()
    assert {file for file, _ in celery} >= {"contrib/liteq_kombu/transport.py", "contrib/liteq_kombu/backend.py"}


def test_the_lists_name_no_file_that_needs_no_exception():
    trees = parsed()
    assert [file for file in TABLES if file not in trees or not any(names_in(trees[file]))] == ["liteq/__init__.py"]
    assert [file for file in IMPORTERS if file not in trees or not any(imports_in(trees[file]))] == []


@pytest.mark.parametrize(
    "planted",
    ['import_object("liteq.cli.logs:set_up")', 'importlib.import_module("liteq_celery.names")', 'x = ["liteq.worker"]'],
)
def test_a_planted_name_is_noticed(planted):
    assert any(names_in(ast.parse(planted)))


def test_the_name_of_a_logger_is_no_module():
    assert not any(names_in(ast.parse('logger = logging.getLogger("liteq.worker")')))


def test_each_upward_call_leads_to_something():
    from liteq.utils.upward import UPWARD, upward

    assert all(upward(key) is not None for key in UPWARD if not key.startswith(("django", "celery")))
