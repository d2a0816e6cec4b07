"""The packages of the examples: the same, to the version, whenever and from wherever it is."""

from __future__ import annotations

import json
import re
from typing import Any

from .conftest import EXAMPLES
from .edges import KINDS


def read(kind: str, name: str) -> Any:
    return json.loads((EXAMPLES / f"cloudflare-{kind}" / name).read_text(encoding="utf-8"))


def test_both_examples_pin_the_same_packages() -> None:
    needed = [read(kind, "package.json")["devDependencies"] for kind in KINDS]
    locked = [{name: one.get("integrity") for name, one in read(kind, "package-lock.json")["packages"].items() if name}
              for kind in KINDS]  # fmt: skip
    assert needed[0] == needed[1]
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in needed[0].values())
    assert locked[0] == locked[1]
    assert all(locked[0].values())


def test_the_lock_names_no_place_that_packages_come_from() -> None:
    for kind in KINDS:
        packages = read(kind, "package-lock.json")["packages"].values()
        assert [one for one in packages if "resolved" in one] == []
