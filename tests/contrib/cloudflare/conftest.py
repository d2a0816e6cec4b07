"""Both examples, installed: where somebody has run `npm ci` in them, or by `tox -e cloudflare`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ

from .edges import KINDS

EXAMPLES = Path(__file__).resolve().parents[3] / "contrib" / "examples"
NODE = 20


def node_version() -> int:
    """The first number of Node's version; 0 where it is not installed."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return 0
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return int(found.stdout.lstrip("v").partition(".")[0])


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with copies of both examples, and their packages: one set, as both have the same."""
    if node_version() < NODE:
        pytest.skip(f"no Node {NODE} or newer, and its npm")
    folder = tmp_path_factory.mktemp("cloudflare")
    for kind in KINDS:
        name = f"cloudflare-{kind}"
        leave = shutil.ignore_patterns("node_modules", "data")
        shutil.copytree(EXAMPLES / name, folder / name, ignore=leave)
    there = next((path for kind in KINDS if (path := EXAMPLES / f"cloudflare-{kind}" / "node_modules").is_dir()), None)
    if there is None:
        if not os.environ.get("LITEQ_TEST_CLOUDFLARE"):
            pytest.skip("no Miniflare: run `npm ci` in contrib/examples/cloudflare-object, or tox -e cloudflare")
        there = folder / "cloudflare-object" / "node_modules"
        done = subprocess.run(["npm", "ci"], cwd=there.parent, capture_output=True, text=True)
        assert "EUSAGE" not in done.stderr, f"package-lock.json does not fit package.json: {done.stderr}"
        if done.returncode:  # without a network, say
            pytest.skip(f"npm ci has failed: {done.stderr[-500:]}")
    for kind in KINDS:
        target = folder / f"cloudflare-{kind}" / "node_modules"
        if target != there:
            target.symlink_to(there)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteQ]:
    """The queue behind the gateway."""
    app = LiteQ("home", broker=f"sqlite:///{tmp_path_factory.mktemp('home')}/home.db", set_as_current=False)
    app.storage.migrate()
    yield app
    app.close()
