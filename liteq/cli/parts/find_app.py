"""`-A`: from a name to the app, as Celery finds it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from liteq.app import LiteQ
from liteq.app.discovery import ended_by_import
from liteq.cli.parts.voice import VOICE
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import nearest
from liteq.utils.upward import upward

__all__ = ["broken", "find_app"]

ATTRIBUTES = ("app", "celery", "liteq")
SUBMODULES = ("celery", "liteq")

SHIM = "LITEQ_CELERY_SHIM"
OFF = frozenset({"", "0", "false", "no", "off"})


def find_app(name: str) -> LiteQ:
    """The app that `name` means: `module:attribute`, `module`, or `package`; the working directory is looked in.

    In a module that is the attribute `app`, `celery` or `liteq`, in a package also that of its submodule `celery` or
    `liteq`, else the only app that there is; the package of a Django project may have none, its settings then make one.
    With LITEQ_CELERY_SHIM=1 `import celery` means liteq in it. Raises ImproperlyConfigured.
    """
    if (cwd := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, cwd)
    if os.environ.get(SHIM, "").strip().lower() not in OFF:
        upward("celery_shim")  # the app's imports need it
    module_name, colon, attribute = name.partition(":")
    if module_name.endswith(".py") and Path(module_name).is_file():
        raise ImproperlyConfigured(f"-A takes a module, and {module_name} is its file{_meant(name)}")
    if colon:
        return _attribute(_import(module_name, name), attribute)
    if not _exists(name) and "." in name:
        parent, _, attribute = name.rpartition(".")
        if _exists(parent):
            return _attribute(_import(parent, name), attribute)
    return _in_module(_import(name, name))


def _in_module(module: ModuleType) -> LiteQ:
    for attribute in ATTRIBUTES:
        if isinstance(found := getattr(module, attribute, None), LiteQ):
            return found
    if hasattr(module, "__path__"):
        for submodule in (f"{module.__name__}.{last}" for last in SUBMODULES):
            if _exists(submodule):
                return _in_module(_import(submodule, submodule))
    apps = _apps_in(module)
    if len(apps) == 1:
        return vars(module)[apps[0]]  # type: ignore[no-any-return]
    if apps:
        names = " or ".join(f"-A {module.__name__}:{name}" for name in apps)
        raise ImproperlyConfigured(f"the module {module.__name__!r} has {len(apps)} apps; choose one: {names}")
    if hasattr(module, "__path__") and _exists(f"{module.__name__}.settings") and _exists("liteq_django"):
        by_settings: LiteQ | None = _of_django(module.__name__)
        if by_settings is not None:
            return by_settings
    raise ImproperlyConfigured(
        f"there is no app in the module {module.__name__!r}: it needs a line such as "
        f'`app = LiteQ("{module.__name__}", broker="sqlite:///tasks.db")`'
    )


def _of_django(project: str) -> LiteQ | None:
    try:
        app: LiteQ | None = upward("django_project")(project)
    except Exception as exc:
        raise broken("'liteq_django.project'", exc) from exc
    return app


def _attribute(module: ModuleType, path: str) -> LiteQ:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    if isinstance(found, ModuleType):
        return _in_module(found)
    if not isinstance(found, LiteQ):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        apps = " or ".join(f"-A {module.__name__}:{name}" for name in _apps_in(module))
        meant = f"; did you mean {apps}?" if apps else ""
        raise ImproperlyConfigured(f"{path!r} in the module {module.__name__!r} is {what}, not an app{meant}")
    return found


def _apps_in(module: ModuleType) -> list[str]:
    """The names of the apps in a module; an app of several names has the first one alone."""
    named = {id(value): name for name, value in reversed(vars(module).items()) if isinstance(value, LiteQ)}
    return sorted(named.values())


def _meant(said: str) -> str:
    """A hint at another -A: the module of a file that was named, else the module here of nearly that name."""
    name, colon, attribute = said.partition(":")
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        parts = path.resolve().with_suffix("").parts
        with suppress(ValueError):
            parts = path.resolve().relative_to(Path.cwd().resolve()).with_suffix("").parts
            return f"; did you mean -A {'.'.join(parts)}{colon}{attribute}?"
        return f"; did you mean -A {parts[-1]}{colon}{attribute}, with --workdir {path.resolve().parent}?"
    entries: list[Path] = []
    with suppress(OSError):  # a folder that may not be read: there is no hint then
        entries = list(Path.cwd().iterdir())
    here = [one.stem for one in entries if one.suffix == ".py" or _is_package(one)]
    near = nearest(name.partition(".")[0], here)
    return f"; did you mean -A {near}{colon}{attribute}?" if near else ""


def _is_package(folder: Path) -> bool:
    try:
        return (folder / "__init__.py").is_file()
    except OSError:  # one that this user may not enter, as some of others are in /tmp
        return False


def _exists(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False
    except (Exception, SystemExit) as exc:  # a parent package is imported by the search
        raise broken(repr(module), exc) from exc


def _import(module: str, said: str) -> ModuleType:
    if not _exists(module):
        raise ImproperlyConfigured(
            f"there is no module {module!r} to take the app from (-A {said}){_meant(said)}; looked in {Path.cwd()} too"
        )
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as exc:
        raise broken(repr(module), exc) from exc


def broken(what: str, exc: Exception | SystemExit) -> ImproperlyConfigured:
    """The error for `what` that raises when it is imported, after its traceback: that one is the user's to read."""
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if "importlib" not in f.filename]
    own = [f for f in frames if not f.filename.startswith(os.path.dirname(__file__))]  # noqa: PTH120
    VOICE.say_frames(["Traceback (most recent call last):\n", *traceback.format_list(own)])
    if isinstance(exc, SystemExit):
        return ImproperlyConfigured(ended_by_import(what, exc))
    return ImproperlyConfigured(f"importing {what} raised {type(exc).__name__}: {exc}")
