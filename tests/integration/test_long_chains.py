"""A chain may be longer than Python's stack is deep."""

from __future__ import annotations

import sys

from liteq import LiteQ, chain


def test_a_chain_longer_than_the_stack_is_sent_and_knows_its_first_link(tmp_path):
    app = LiteQ("long", broker=f"sqlite:///{tmp_path}/long.db")

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    links = sys.getrecursionlimit() + 200
    result = chain(add.s(0, 1), *(add.s(1) for _ in range(links - 1))).apply_async()

    seen = 1
    while result.parent is not None:
        result, seen = result.parent, seen + 1
    assert seen == links
    assert result.id
    app.close()
