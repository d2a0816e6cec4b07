"""`liteq codec`: the keys under which the values in the file are sealed."""

from __future__ import annotations

from collections import Counter

import click

from liteq.cli.group import Group
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import counted, emit, say, table
from liteq.cli.parts.session import Session, pass_session

__all__ = ["codec"]


@click.group(cls=Group)
def codec() -> None:
    """The payload codec (setting `payload_codec`): status, rotate. Name the app that has it with -A."""


@codec.command()
@pass_session
def status(session: Session, /) -> int:
    """Show how many values are sealed under the present key, under others, and how many stand in the open.

    Reads all values. A key that is not named here, and that no process encodes with any more, may go.

    \b
    JSON: {"codec", "key", "values", "under_key", "under_others", "plain", "other_keys", "columns": {NAME: {...}}}
    """
    found = session.storage.values.count()
    vault = session.storage.values.vault
    columns = {
        name: {
            "values": one.values, "under_key": one.present, "under_others": one.values - one.present - one.plain,
            "plain": one.plain, "other_keys": sorted(one.others),
        }
        for name, one in found.items() if one.values
    }  # fmt: skip
    sums = Counter[str]()
    for one in columns.values():
        sums.update({name: n for name, n in one.items() if isinstance(n, int)})
    others = sorted({key for one in found.values() for key in one.others})
    names = ("values", "under_key", "under_others", "plain")
    document = {
        "codec": vault.name, "key": vault.key_id, **{name: sums[name] for name in names}, "other_keys": others,
        "columns": columns,
    }  # fmt: skip

    def show() -> None:
        say(f"{vault.name} seals under the key {vault.key_id or '(without an id)'}.")
        rows = [
            (name, *(f"{one[part]:,}" for part in names), ", ".join(sorted(found[name].others)))
            for name, one in columns.items()
        ]
        head = ("column", "values", "under it", "under others", "in the open", "other keys")
        table(session, head, rows, empty="there are no values")

    emit(session, document, show)
    return Exit.OK


@codec.command()
@pass_session
def rotate(session: Session, /) -> int:
    """Write all values anew that are not sealed under the present key; workers and producers go on meanwhile.

    Give every process the new key first. A second call goes on where one was stopped. Exits with 1 where values cannot
    be opened, for want of their key: they stay as they are.

    \b
    JSON: {"key", "rows", "unopened": {KEY: N}}
    """
    storage = session.storage
    rows, unopened = 0, {}
    for done in storage.values.reseal():
        rows, unopened = done.rows, dict(done.unopened)
    key = storage.values.vault.key_id

    def show() -> None:
        say(f"{counted(rows, 'row')} written anew under the key {key or '(without an id)'}.")
        for name, n in sorted(unopened.items()):
            say(f"{counted(n, 'value')} under the key {name or '(without an id)'} cannot be opened: give it that key.")

    emit(session, {"key": key, "rows": rows, "unopened": unopened}, show)
    return Exit.FAILED if unopened else Exit.OK
