"""docs/guide/, followed word for word: every file is written, every command typed, every answer compared."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from liteq.cli import main
from liteq.cli.parts.exits import Exit

from .book import Reader, blocks
from .worker_process import wait_for

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"
HOWTO = ROOT / "docs" / "howto"
PAGES = [*sorted(path for path in GUIDE.glob("*.md") if path.stem != "index"), HOWTO / "share-between-users.md"]

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="liteq's workers need POSIX"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_works_as_it_is_written(page: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    with Reader(checkout) as reader:
        reader.follow(page)


# -- files for a server ----------------------------------------------------------------------------------------------


def file_of_deploy(name: str) -> str:
    (text,) = (block.text for block in blocks(GUIDE / "deploy.md") if block.file == name)
    return text


@pytest.fixture
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(file_of_deploy("bakery-worker.service"))
    return unit["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd says whether a unit is right")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "bakery-worker.service"
    text = file_of_deploy(unit.name)
    unit.write_text(text.replace("/srv/bakery/.venv/bin/liteq", sys.executable))
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (said.returncode, [line for line in said.stderr.splitlines() if unit.name in line]) == (0, [])


def test_the_command_of_the_unit_is_a_worker_that_ends_well(service: configparser.SectionProxy, tmp_path: Path) -> None:
    (tmp_path / "bakery.py").write_text(file_of_deploy("bakery.py"))
    name, _, url = service["Environment"].partition("=")
    environ = {**os.environ, name: url.replace("/var/lib/bakery", str(tmp_path))}
    program, *arguments = service["ExecStart"].split()
    assert program.startswith(service["WorkingDirectory"])
    worker = subprocess.Popen([sys.executable, "-m", "liteq", *arguments], cwd=tmp_path, env=environ)
    try:
        alive = [sys.executable, "-m", "liteq", "-A", "bakery", "status"]
        wait_for(
            lambda: subprocess.run(alive, cwd=tmp_path, env=environ, capture_output=True).returncode == 0, within_s=60
        )
        assert (tmp_path / "queue.db").exists()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    finally:
        worker.kill()
        worker.wait()


def test_systemd_does_not_start_again_what_cannot_start(service: configparser.SectionProxy) -> None:
    assert [Exit(int(code)) for code in service["RestartPreventExitStatus"].split()] == [Exit.USAGE, Exit.CONFIG]


def test_the_containers_run_commands_that_are_there() -> None:
    lines = [line.partition(" ") for line in file_of_deploy("Dockerfile").splitlines()]
    assert {word for word, _, _ in lines} <= {"FROM", "COPY", "RUN", "WORKDIR", "USER", "ENV", "CMD"}
    (command,) = (json.loads(rest) for word, _, rest in lines if word == "CMD")
    worker = yaml.safe_load(file_of_deploy("compose.yaml"))["services"]["worker"]
    for words in (command, worker["command"], worker["healthcheck"]["test"].split()):
        assert words[0] == "liteq"
        main.make_context("liteq", words[1:])
        found = main.get_command(None, words[1])  # type: ignore[arg-type]
        found.make_context(words[1], words[2:])  # type: ignore[union-attr] - an unknown option raises


def test_the_containers_keep_the_queue_on_the_volume() -> None:
    url = next(line for line in file_of_deploy("Dockerfile").splitlines() if line.startswith("ENV"))
    worker = yaml.safe_load(file_of_deploy("compose.yaml"))["services"]["worker"]
    assert [mount.partition(":")[2] + "/" in url for mount in worker["volumes"]] == [True]
