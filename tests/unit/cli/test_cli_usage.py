"""`liteq usage`: what steps have spent, as text and as JSON."""

from __future__ import annotations

import pytest

from liteq.testing import drain

FLOWS = """
from liteq import LiteQ
from liteq.workflow import ctx

app = LiteQ("shop", broker="sqlite:///shop.db")

@app.step
def ask(model: str, cost: str | None):
    ctx.spend(model=model, input_tokens=1000, output_tokens=10, cost=cost)

@app.workflow
def flow(model: str, cost: str | None):
    ask(model, cost)
"""


@pytest.fixture
def usage(liteq, project):
    """`liteq usage ...`, on a file whose runs have spent."""
    (project / "shop.py").write_text(FLOWS)
    liteq("-A", "shop", "migrate")
    import shop

    for model, cost in (("cheap", "0.02"), ("dear", "1.50"), ("odd", None)):
        shop.flow.options(tags=["team:a"]).start(model, cost)
    drain(shop.app)
    return lambda *args: liteq("-A", "shop", "usage", *args)


def test_usage_is_listed_the_dearest_first(usage):
    found = usage("--json").json
    assert [(row["model"], row["cost"], row["requests"], row["input_tokens"]) for row in found] == [
        ("dear", "1.5", 1, 1000), ("cheap", "0.02", 1, 1000), ("odd", None, 1, 1000),
    ]  # fmt: skip
    assert list(found[0])[:6] == [
        "model", "requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    ]  # fmt: skip
    lines = usage().out.splitlines()
    assert lines[1].split("\t")[0] == "dear"


def test_usage_by_tag_and_since(usage):
    (row,) = usage("--by", "tag", "--since", "1h", "--json").json
    assert (row["tag"], row["requests"], row["cost"]) == ("team:a", 3, None)
    assert sorted(row["models"]) == ["cheap", "dear", "odd"]
    assert row["models"]["cheap"]["cost"] == "0.02"


def test_a_wrong_word_is_refused(usage):
    assert usage("--by", "modle").code == 2
    assert usage("--since", "7x").code == 2
