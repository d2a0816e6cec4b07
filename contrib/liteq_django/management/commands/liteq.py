"""`manage.py liteq ...`: the whole command line `liteq`, for the project's app; and what only Django has."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from liteq.cli.group import COMMANDS
from liteq_django.project import default_app

CHECKED = frozenset({"worker", "beat"})  # commands that run for long: better not started than wrongly
DJANGO_S = ("--settings", "--pythonpath")  # dealt with before a command is found


class Command(BaseCommand):
    """Hands its arguments on."""

    help = "The task queue: worker, beat, status, dead, inspect, ...; import_beat, relay. `liteq --help` lists them."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """From `manage.py`: nothing of Django's parser is between the user and `liteq`."""
        try:
            self.handle(*_without_django_s(argv[2:]))
        except (CommandError, ImproperlyConfigured) as exc:  # a check that fails is one
            self.stderr.write(str(exc))
            sys.exit(1)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("args", nargs="*")

    def handle(self, *args: str, **_options: Any) -> None:
        """From `call_command("liteq", "status")` too. Ends by SystemExit with liteq's exit code, unless that is 0."""
        # By its name: what stands first may be the value of an option.
        command = next((arg for arg in args if arg in COMMANDS or arg in OWN), None)
        if command in CHECKED and "--skip-checks" not in args:
            self.check()
        if command in OWN:
            OWN[command](self, [arg for arg in args if arg != command])
            return
        try:
            default_app().start(list(args) or ["--help"])
        except SystemExit as end:
            if end.code not in {0, None} or sys.argv[1:2] == ["liteq"]:
                raise

    def import_beat(self, args: list[str]) -> None:
        from liteq_django.import_beat import command

        command(self, args)

    def relay(self, args: list[str]) -> None:
        from liteq_django.storage import relay_for

        parser = ArgumentParser(
            "manage.py liteq relay", description="Carries the outbox to the queue, without a worker."
        )
        parser.add_argument("--once", action="store_true", help="What is there now, and no more.")
        once = parser.parse_args(args).once
        relay = relay_for(default_app(), asked=True)
        if relay is None:
            self.stderr.write("there is no outbox: what is sent in a transaction is in the queue with its commit")
            return
        if once:
            self.stdout.write(f"relayed {relay.turn()}")
            return
        relay.run()


OWN = {"import_beat": Command.import_beat, "relay": Command.relay}


def _without_django_s(args: list[str]) -> list[str]:
    kept: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg in DJANGO_S:
            next(rest, None)
        elif arg != "--force-color" and not arg.startswith(tuple(f"{name}=" for name in DJANGO_S)):
            kept.append(arg)
    return kept
