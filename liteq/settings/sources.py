"""Where settings come from outside the app's code: files in the working directory, the environment, the command line.

By rising priority:

    default < liteq.ini, [tool.liteq] in pyproject.toml < liteq_config.py < the app's code < LITEQ_* < command line

The environment stands above the app's code, and the command line above both: they are the operator's word on how
an app runs. Text (the environment, the ini file) goes through a pydantic-settings model made from the table of
settings, which is only imported when there is text to read.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any

from liteq.exceptions import ImproperlyConfigured
from liteq.settings import NO_EFFECT, SETTINGS, Given, Setting, Source, closest_setting, read_object
from liteq.settings.schemes import is_ours

__all__ = ["PREFIX", "RESERVED", "load"]

PREFIX = "LITEQ_"

# Variables that are no settings: read by the CLI before there is an app, by the alias package, by tests and
# benchmarks.
RESERVED = frozenset(
    {"LITEQ_APP", "LITEQ_CELERY_SHIM", "LITEQ_CONFIG", "LITEQ_DEBUG", "LITEQ_QUIET"}
    | {"LITEQ_LOG_FORMAT", "LITEQ_LOG_LEVEL"}
)
RESERVED_PREFIXES = ("LITEQ_BENCH_", "LITEQ_TEST_")

INI, TOML, MODULE = "liteq.ini", "pyproject.toml", "liteq_config.py"


def load(
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] = ".",
) -> dict[str, Given]:
    """The values in the sources, by setting, each with its origin; `conf.apply_given` takes them.

    `overrides` are the command line's, with None for an option that was not given. `environ` is the process's own
    unless given; files are looked for in `directory` alone. Raises ImproperlyConfigured for a value that a setting
    does not take, a name that is none, and a file that cannot be read.
    """
    found: dict[str, Given] = {}
    folder = Path(directory)
    for path, read in ((folder / INI, _read_ini), (folder / TOML, _read_toml)):
        if _is_there(path):
            found.update(_checked(read(path), Source.FILE, path.name))
    if _is_there(module := folder / MODULE):
        found.update(_checked(read_object(_run(module)), Source.MODULE, MODULE, strict=False))
    environ = os.environ if environ is None else environ
    found.update(_from_celery_s_environment(environ))
    found.update(_from_environment(environ))
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    found.update(_checked(given, Source.COMMAND_LINE, "the command line"))
    return found


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError as exc:  # nobody knows which settings would hold there
        raise ImproperlyConfigured(
            f"{path.absolute()} cannot be looked for ({exc.strerror}): this user may not enter the working directory; "
            "start the process in another"
        ) from None


def _checked(values: Mapping[str, Any], source: Source, origin: str, *, strict: bool = True) -> dict[str, Given]:
    found = {}
    for name, value in values.items():
        if name in SETTINGS:
            try:
                found[name] = Given(SETTINGS[name].check(value), source, origin)
            except ImproperlyConfigured as exc:
                raise ImproperlyConfigured(f"{origin}: {exc}") from None
        elif strict and name not in NO_EFFECT:
            raise _unknown(name, origin)
        else:
            found[name] = Given(value, source, origin)
    return found


def _unknown(name: str, origin: str) -> ImproperlyConfigured:
    near = closest_setting(name.removeprefix(PREFIX))
    shown = (PREFIX + near.upper() if name.startswith(PREFIX) else near) if near else None
    return ImproperlyConfigured(f"{origin}: there is no setting {name}" + (f"; did you mean {shown}?" if shown else ""))


# -- the environment -------------------------------------------------------------------------------------------------


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    texts = {
        name: text
        for name, text in environ.items()
        if name.startswith(PREFIX) and name not in RESERVED and not name.startswith(RESERVED_PREFIXES)
    }
    for name in texts:
        if name[len(PREFIX) :].lower() not in SETTINGS.keys() | NO_EFFECT:
            raise _unknown(name, "the environment")
    values = _parse({name[len(PREFIX) :].lower(): text for name, text in texts.items()}, "the environment")
    found: dict[str, Given] = {}
    for name, value in values.items():
        found.update(_checked({name: value}, Source.ENVIRONMENT, PREFIX + name.upper()))
    return found


def _from_celery_s_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """CELERY_BROKER_URL and CELERY_RESULT_BACKEND, which outrank an app's code in Celery too.

    The URL of another broker is what a deployment still says to Celery itself: it is left to it.
    """
    found = {}
    for name, variable in (("broker_url", "CELERY_BROKER_URL"), ("result_backend", "CELERY_RESULT_BACKEND")):
        url = environ.get(variable, "").strip()
        if is_ours(url):
            found[name] = Given(url, Source.ENVIRONMENT, variable)
    return found


def _parse(texts: Mapping[str, str], origin: str) -> dict[str, Any]:
    """Values out of text: JSON where a setting takes a dict or a list, "none" for None; what is empty is not set."""
    texts = {name: text.strip() for name, text in texts.items() if text.strip()}
    nothing = [name for name, text in texts.items() if text.lower() == "none" and name in SETTINGS]
    found: dict[str, Any] = {name: None if name in nothing else text for name, text in texts.items()}
    # Text that is wanted as text (a URL, a level of durability) needs no reading, and pydantic's import takes 0.2 s.
    others = [name for name in texts if name in SETTINGS and name not in nothing and not _is_text(SETTINGS[name])]
    if not others:
        return found
    from pydantic_settings import EnvSettingsSource, SettingsError

    for name in others:
        text = found.pop(name)
        source = EnvSettingsSource(_model(), case_sensitive=False, env_prefix="")
        source.env_vars = {name: text}
        try:
            found |= source()
        except SettingsError:
            raise ImproperlyConfigured(f"{origin}: {name} = {text[:80]!r} is not JSON, which it takes") from None
    return found


def _is_text(setting: Setting) -> bool:
    """Whether the setting takes text and, besides None, nothing else."""
    return str in setting.classes and set(setting.classes) <= {str, NoneType}


@lru_cache(maxsize=1)
def _model() -> Any:
    """The table of settings as a pydantic-settings model. What may be anything is read as JSON where it can be."""
    from pydantic import create_model  # as in `_parse`
    from pydantic_settings import BaseSettings

    anything = dict[str, Any] | list[Any] | str
    fields: dict[str, Any] = {
        name: (anything if row.type is Any else row.type, row.default) for name, row in SETTINGS.items()
    }
    return create_model("LiteqSettings", __base__=BaseSettings, **fields)


# -- files -----------------------------------------------------------------------------------------------------------


def _read_ini(path: Path) -> dict[str, Any]:
    import configparser  # as tomllib below: few have such a file, and every process would pay for it

    parser = configparser.ConfigParser(interpolation=None)  # formats of log lines are full of percent signs
    try:
        parser.read_string(path.read_text(encoding="utf-8"), path.name)
    except (configparser.Error, UnicodeDecodeError, OSError) as exc:
        raise ImproperlyConfigured(f"{path.name} cannot be read: {' '.join(str(exc).split())}") from None
    return _parse(parser["liteq"], path.name) if parser.has_section("liteq") else {}


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        data = path.read_bytes()
        if b"liteq" not in data:
            return {}
        tools = tomllib.loads(data.decode()).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise ImproperlyConfigured(f"{path.name} cannot be read: {exc}") from None
    section = tools.get("liteq", {})
    if not isinstance(section, dict):
        raise ImproperlyConfigured(f"{path.name}: tool.liteq is not a table")
    return section


def _run(path: Path) -> dict[str, Any]:
    """The names that the module at `path` ends with. Its own errors are raised as they are."""
    return {name: value for name, value in runpy.run_path(str(path)).items() if not name.startswith("_")}
