"""The surface, walked by its own table: one spelling of an idea, and a misspelt name refused with the nearest one."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from pathlib import Path

import click
import pytest

from liteq import LiteQ
from liteq.cli.group import OTHER_NUMBER
from liteq.exceptions import ImproperlyConfigured
from liteq.sending.options import OF_A_CALL
from liteq.settings import SETTINGS
from liteq.storage.sqlite.url import OPTIONS, parse

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs" / "generate"))
cli = importlib.import_module("surface_cli")

COMMANDS: dict[str, click.Command] = dict(cli.commands())
LEAVES = {path: one for path, one in COMMANDS.items() if not isinstance(one, click.Group)}
# Words that stand for two things, since programs use both: `--by` is the old name of `usage --per`, `--args` of
# `inspect --with-args`, `--yes` of `mcp --unasked`.
OF_TWO = {"--args", "--by", "--from", "--keep", "--to", "--yes"}
# Commands that run until they are ended, hand on to other programs, or write a file in a form of its own.
WITHOUT_JSON = {
    "multi", "shell",
}  # fmt: skip


def misspelt(name: str) -> str:
    """`name` without its last letter but one: no name of its own, and like no other so much."""
    return name[:-2] + name[-1]


def long_names(command: click.Command) -> list[str]:
    return [name for one in cli.options(command) for name in (*one.opts, *one.secondary_opts) if name[:2] == "--"]


# -- one spelling ----------------------------------------------------------------------------------------------------


def test_an_option_has_one_kind_of_value_wherever_it_stands():
    values: dict[str, set[str]] = {}
    for command in LEAVES.values():
        for one in cli.options(command):
            for name in {*one.opts, *one.secondary_opts} - OF_TWO:
                if name.startswith("--"):
                    values.setdefault(name, set()).add(cli.shown_value(one))
    assert {name: found for name, found in values.items() if len(found) > 1} == {}


def test_a_time_is_a_span_or_a_moment_and_a_number_is_n():
    kinds = {cli.shown_value(one) for command in LEAVES.values() for one in cli.options(command)}
    assert kinds & {"FLOAT", "SECONDS", "INTEGER", "INTEGER RANGE", "FLOAT RANGE"} == set()
    assert {"SPAN", "TIME", "N"} <= kinds


def test_a_command_that_tells_something_says_its_json():
    silent = {path.removeprefix("liteq ") for path, one in LEAVES.items() if "JSON" not in (one.help or "")}
    assert silent == WITHOUT_JSON


def test_a_command_that_is_noted_in_the_audit_takes_a_name_and_a_reason():
    noted = {
        path
        for path, one in LEAVES.items()
        if one.callback is not None and "session.actor(" in inspect.getsource(inspect.unwrap(one.callback))
    }
    assert len(noted) > 10
    noted.remove("liteq workflow approve")  # whose reason is its --comment
    assert [path for path in noted if not {"--by", "--reason"} <= set(long_names(LEAVES[path]))] == []


def test_not_to_be_asked_is_one_option():
    asking = {
        path: set(one.opts) for path, command in LEAVES.items() for one in cli.options(command) if one.name == "sure"
    }
    assert asking.pop("liteq worker") == {"-y", "--yes"}  # its -f is the log
    assert set(map(frozenset, asking.values())) == {frozenset({"-y", "--yes", "-f", "--force"})}


@pytest.mark.parametrize("other", OTHER_NUMBER)
def test_a_group_is_found_by_the_other_number_too(other):
    main = COMMANDS["liteq"]
    assert isinstance(main, click.Group)
    context = click.Context(main)
    assert main.get_command(context, other) is main.get_command(context, OTHER_NUMBER[other])
    assert other not in main.list_commands(context)


# -- misspelt --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != "liteq"])
def test_a_misspelt_command_is_refused_with_the_nearest(path):
    parents, _, name = path.rpartition(" ")
    group = COMMANDS[parents]
    assert isinstance(group, click.Group)
    known = group.list_commands(click.Context(group))
    wrong = misspelt(name)
    if wrong in known or wrong in OTHER_NUMBER:
        wrong = f"{name}x"
    with pytest.raises(click.UsageError) as raised:
        group.resolve_command(click.Context(group), [wrong])
    assert f"unknown command {wrong!r}; nearest: " in str(raised.value)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize("path", LEAVES)
def test_a_misspelt_option_of_a_command_is_refused_with_the_nearest(path):
    command = LEAVES[path]
    if command.context_settings.get("ignore_unknown_options"):  # `liteq multi` and `control` hand them on
        return
    names = [name for name in long_names(command) if len(name) > 5]
    for name in names:
        wrong = misspelt(name)
        if wrong in names:
            continue
        with pytest.raises(click.NoSuchOption) as raised:
            command.make_context(path, [wrong])
        assert name in (raised.value.possibilities or []), raised.value.format_message()


def test_a_misspelt_setting_is_told_with_the_nearest(caplog):
    app = LiteQ("surface", set_as_current=False)
    wrong = {misspelt(name): None for name in SETTINGS if misspelt(name) not in SETTINGS}
    assert app.conf.timezone is None  # settings are read when one is first asked for
    with caplog.at_level(logging.WARNING, "liteq.settings"):
        app.conf.update(wrong)
    assert [name for name in wrong if f"{name!r} is not a setting of liteq; did you mean" not in caplog.text] == []


def test_a_misspelt_option_of_a_call_is_refused_with_the_nearest(tmp_path):
    app = LiteQ("surface", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    with app:
        for name in sorted(name for name in OF_A_CALL if len(name) > 4):
            with pytest.raises(TypeError, match=f"unknown option '{misspelt(name)}' .did you mean '"):
                app.send_task("f", **{misspelt(name): 1})


@pytest.mark.parametrize("name", OPTIONS)
def test_a_misspelt_parameter_of_a_broker_url_is_refused_with_the_nearest(name):
    with pytest.raises(ImproperlyConfigured, match=f"did you mean {name}="):
        parse(f"sqlite:///x.db?{misspelt(name)}=rw")
