"""Canvases whose unique keys and ids collide at each place: whatever was sent, and whatever becomes of it, ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liteq import LiteQ, chain, chord, group
from liteq.exceptions import CanvasConflict
from liteq.states import State
from liteq.testing import FakeClock, drain

from .oracle import AT_REST, OF_ALL_ROWS, ORACLE
from .sizes import size

EXAMPLES = size("CANVAS_EXAMPLES", 30, 4_000)
A_YEAR_MS = 366 * 86_400_000


def wrong(app: LiteQ, *, forgotten: bool = False) -> dict[str, list[Any]]:
    asked = {name: sql for name, sql in {**ORACLE, **AT_REST}.items() if not (forgotten and name in OF_ALL_ROWS)}
    with app.storage.driver.read() as tx:
        found = {name: tx.execute(sql) for name, sql in asked.items()}
    return {name: rows for name, rows in found.items() if rows}


def written(app: LiteQ) -> tuple[Any, ...]:
    with app.storage.driver.read() as tx:
        return tx.execute("SELECT * FROM liteq_messages ORDER BY id"), tx.execute(
            "SELECT * FROM liteq_groups ORDER BY id"
        )


# -- canvases --------------------------------------------------------------------------------------------------------

keys = st.sampled_from([None, None, None, "a", "b"])
ids = st.sampled_from([None, None, None, None, "one", "two", "three"])


@st.composite
def leaves(draw: Any, inner: bool = True) -> dict[str, Any]:
    """One task: how it ends, its key and its id, and what is linked to it."""
    kinds = ["returns", "returns", "returns", "raises"] + ["replaces", "grows"] * inner
    leaf: dict[str, Any] = {"kind": draw(st.sampled_from(kinds)), "key": draw(keys), "id": draw(ids)}
    leaf["countdown"] = draw(st.sampled_from([None, None, 5, 50]))
    if leaf["kind"] in {"replaces", "grows"}:
        leaf["with"] = draw(canvases(inner=False))
        leaf["own_id"] = draw(st.booleans())
    if inner and draw(st.integers(0, 4)) == 0:
        leaf[draw(st.sampled_from(["link", "link_error"]))] = draw(canvases(inner=False))
    return leaf


def canvases(inner: bool = True) -> st.SearchStrategy[Any]:
    """A leaf, or a (shape, id, parts) of such."""
    leaf = leaves(inner)
    few = st.lists(leaf, min_size=1, max_size=3)
    shapes = st.tuples(st.sampled_from(["chain", "group", "chord"]), ids, few)
    if not inner:
        return st.one_of(leaf, leaf, shapes)
    return st.recursive(leaf, lambda part: st.tuples(
        st.sampled_from(["chain", "group", "chord"]), ids, st.lists(part, min_size=1, max_size=3)
    ), max_leaves=6)  # fmt: skip


def built(app: LiteQ, spec: Any) -> Any:
    """The signature that a spec describes."""
    if isinstance(spec, tuple):
        shape, id_, parts = spec
        made = [built(app, part) for part in parts]
        if shape == "chord":
            canvas: Any = chord(made[:-1] or made, made[-1].clone() if len(made) == 1 else made[-1])
        else:
            canvas = chain(*made) if shape == "chain" else group(*made)
        if id_ is not None and shape != "chord":
            canvas.set(task_id=id_)
        return canvas
    app.plans.append(spec)  # type: ignore[attr-defined]
    sig = app.tasks["step"].s(len(app.plans) - 1)  # type: ignore[attr-defined]
    for option, value in (("unique_key", spec["key"]), ("task_id", spec["id"]), ("countdown", spec["countdown"])):
        if value is not None:
            sig.set(**{option: value})
    if "link" in spec:
        sig.link(built(app, spec["link"]))
    if "link_error" in spec:
        sig.link_error(built(app, spec["link_error"]))
    return sig


@contextmanager
def app_in(folder: Path) -> Iterator[LiteQ]:
    app = LiteQ("canvases", broker=f"sqlite:///{folder}/q.db", clock=FakeClock(), set_as_current=False)
    app.conf.durability = "relaxed"
    app.plans = []  # type: ignore[attr-defined]

    @app.task(name="step", bind=True)
    def step(self: Any, *args: Any) -> Any:
        plan = app.plans[args[-1]]  # type: ignore[attr-defined]
        if plan["kind"] == "raises":
            raise ValueError("no")
        if plan["kind"] == "returns":
            return 1
        sig = built(app, plan["with"])
        if plan["own_id"]:
            sig.set(task_id=self.request.id)
        if plan["kind"] == "replaces":
            raise self.replace(sig)
        if self.request.group:
            self.add_to_chord(sig)
        return 1

    try:
        yield app
    finally:
        app.close()


def nodes_of(result: Any) -> Iterator[Any]:
    """Each result of a message in the tree of `result`."""
    todo = [result]
    while todo:
        one = todo.pop()
        if one is None:
            continue
        todo += [one.parent, *getattr(one, "results", ())]
        if not hasattr(one, "results"):
            yield one


actions = st.sampled_from(["run one", "run some", "revoke", "forget", "replay", "wait", "send again"])


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(canvases(), st.lists(actions, max_size=4)), min_size=1, max_size=4), st.randoms())
def test_a_send_raises_and_has_written_nothing_or_every_part_of_it_ends(sends: list[Any], random: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, app_in(Path(folder)) as app:
        results: list[Any] = []
        gone: set[str] = set()
        for spec, after in sends:
            try:
                sig = built(app, spec)
            except ValueError:  # one id at two places of it
                continue
            for _ in range(2 if "send again" in after else 1):
                before = written(app)
                try:
                    results.append(sig.apply_async())
                except (CanvasConflict, ValueError):
                    assert written(app) == before
            for action in after:
                act(app, action, results, random, gone)
        drain(app, until_ms=app.clock.now_ms() + A_YEAR_MS)
        assert wrong(app, forgotten=bool(gone)) == {}
        waiting = [
            node.id for result in results for node in nodes_of(result) if not node.ready() and node.id not in gone
        ]
        assert waiting == []


def act(app: LiteQ, action: str, results: list[Any], random: Any, gone: set[str]) -> None:
    storage = app.storage
    if action in {"run one", "run some"}:
        drain(app, until_ms=app.clock.now_ms() + (0 if action == "run one" else 10_000))
    elif action == "wait":
        app.clock.advance(20)  # type: ignore[attr-defined]
    elif action == "replay":
        storage.dead.requeue(storage.dead.matching())
    elif results and action in {"revoke", "forget"}:
        chosen = random.choice(list(nodes_of(random.choice(results))))
        if action == "revoke":
            chosen.revoke()
        elif storage.forget([chosen.id]):
            gone.add(chosen.id)


def test_the_oracle_sees_what_waits_for_ever(tmp_path: Path) -> None:
    """The control: a row that awaits what is not there."""
    with app_in(tmp_path) as app:
        result = chain(app.tasks["step"].s(0), app.tasks["step"].s(0)).apply_async()
        with app.storage.driver.write() as tx:
            tx.execute("DELETE FROM liteq_messages WHERE id = ?", (result.parent.id,))
        drain(app)
        assert set(wrong(app)) == {"waits", "waits for what has ended"}
        assert app.storage.reader.find(result.id).state is State.BLOCKED  # type: ignore[union-attr]
