"""The libraries that are shipped: those of their releases, byte for byte, with their licences."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

VENDOR = files("liteq_dashboard") / "static" / "vendor"
PINNED = json.loads((VENDOR / "vendor.json").read_text())


def test_every_file_is_pinned_by_its_hash():
    found = {
        file.name: f"sha256-{hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in VENDOR.iterdir()
        if file.name.endswith((".js", ".css"))
    }
    assert found == {name: one["hash"] for name, one in PINNED.items()}


def test_every_file_has_its_release_and_its_licence():
    for one in PINNED.values():
        assert {"package", "version", "path", "license"} <= one.keys()
        assert len((VENDOR / one["license"]).read_text()) > 200


def test_a_first_page_needs_no_more_than_its_share():
    shipped = sum(len(file.read_bytes()) for file in VENDOR.iterdir() if file.name.endswith((".js", ".css")))
    assert shipped < 100_000
