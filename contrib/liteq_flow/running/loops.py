"""`foreach` and `parallel`: a step for each of several items, so many at once."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from liteq_flow.model import Action, Foreach
from liteq_flow.running.doing import Made, do_once
from liteq_flow.running.names import Names
from liteq_flow.running.plan import Node, Plan, failed_of, now_ms
from liteq_flow.running.run import UNEXPECTED, StepFailed, all_of, spelled
from liteq_flow.values import text_of

__all__ = ["do_foreach", "do_parallel"]

MOST = 1_000  # items
WORDS = re.compile(r'"((?:[^"\\]|\\.)*)"|[^\s,;|]+')


async def _at_once(most: int, works: list[Callable[[], Awaitable[None]]]) -> None:
    """Do all of `works`, so many at once."""
    places = asyncio.Semaphore(most)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with places:
            await work()

    await all_of([asyncio.create_task(one(work)) for work in works])


# -- parallel --------------------------------------------------------------------------------------------------------


async def do_parallel(plan: Plan, node: Node, names: Names) -> Made:
    """The step once for each item; one that fails fails the step, when the others have ended."""
    wanted = node.step.parallel
    assert wanted is not None
    items = items_of(names.value(wanted.items))
    ends: list[Made | StepFailed | None] = [None] * len(items)
    last_ms: list[int] = []  # when the items ended, as each branch has it
    each = _of_each(node)
    attempt = "" if node.attempts < 2 else f"#{node.attempts}"

    def work(i: int) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            try:
                ends[i] = await do_once(plan, each, names.of(node.step, items[i]), f"{node.path}[{i}]{attempt}")
            except UNEXPECTED as exc:
                ends[i] = exc if isinstance(exc, StepFailed) else StepFailed(str(exc))
            last_ms.append(now_ms())

        return do

    await _at_once(wanted.max_concurrent, [work(i) for i in range(len(items))])
    node.ended_ms = max([node.ended_ms or 0, each.ended_ms or 0, *last_ms])
    failures = [(i, one) for i, one in enumerate(ends) if isinstance(one, StepFailed)]
    if failures:
        i, first = failures[0]
        raise StepFailed(
            f"{len(failures)} of {len(items)} items failed; item {i}: {first}", first.exit_code, result=first.result
        )
    return _of_items([one for one in ends if isinstance(one, Made)], node.step.variable)


def _of_each(node: Node) -> Node:
    """The step as it runs for one item; an action without `params` gets the item as its `params`."""
    do = node.step.do
    if not isinstance(do, Action) or do.arguments.get("params"):
        return node
    return replace(node, step=replace(node.step, do=replace(do, arguments={**do.arguments, "params": "${ITEM}"})))


def _of_items(made: list[Made], variable: str | None) -> Made:
    """The ends of all items as one. The output of an item that has none is its `variable`: what its command wrote."""
    summary = {"total": len(made), "succeeded": len(made), "failed": 0}
    outputs = [one.outputs or ({variable: one.variable} if variable else {}) for one in made]
    results = [{"status": "succeeded", "outputs": one} for one in outputs]
    document = {"summary": summary, "results": results, "outputs": outputs}
    text = json.dumps(document, ensure_ascii=False)
    return Made(0, "\n".join(one.stdout for one in made if one.stdout) or text, "", text, document)


def items_of(value: Any) -> list[Any]:
    """The items that `parallel` names: a list, or a text that has them. Raises StepFailed for none, or too many."""
    items = value
    if isinstance(value, str):
        try:
            items = json.loads(value)
        except ValueError:
            items = [json.loads(f'"{m[1]}"') if m[1] is not None else m[0] for m in WORDS.finditer(value)]
    if not isinstance(items, list):
        items = [items]
    if not items:
        raise StepFailed("parallel has no item")
    if len(items) > MOST:
        raise StepFailed(f"parallel has {len(items):,} items; {MOST:,} is the most")
    return items


# -- foreach ---------------------------------------------------------------------------------------------------------


async def do_foreach(plan: Plan, node: Node, names: Names, do: Foreach) -> Made:
    """The steps below, once for each item; collected in the order of the items."""
    items = _list_of(names.value(do.items))
    attempt = "" if node.attempts < 2 else f"#{node.attempts}"
    inners: list[Plan] = []
    scopes = [names.inner({"index": i, do.as_name: item}) for i, item in enumerate(items)]
    keys = [_key(do, one, i) for i, one in enumerate(scopes)]
    if len(set(keys)) < len(keys):
        again = next(key for key in keys if keys.count(key) > 1)
        raise StepFailed(f"two items of foreach have the key {again!r}")
    for one, key_ in zip(scopes, keys, strict=True):
        one.foreach = {**one.foreach, "key": key_}
    records: list[dict[str, Any]] = [{} for _ in items]

    def work(i: int) -> Callable[[], Awaitable[None]]:
        async def go() -> None:
            path = f"{node.path}[{spelled(keys[i], but='/')}]{attempt}/"
            inner = Plan(plan.run, scopes[i], do.steps, path, plan.file)
            inners.append(inner)
            inner.deadline_ms, inner.places, inner.waits = plan.inner_deadline(node), plan.places, plan.waits
            await inner.go()
            records[i] = {"index": i, "key": keys[i], **_end(inner, do)}

        return go

    await _at_once(do.max_concurrent, [work(i) for i in range(len(items))])
    for inner in sorted(inners, key=lambda one: one.names.foreach["index"]):
        node.written |= inner.written()
        node.ended_after(inner.nodes.values())
    return _collected(records)


def _key(do: Foreach, names: Names, index: int) -> str:
    key = str(index) if do.key is None else names.text(do.key)
    if not key:
        raise StepFailed(f"the key of item {index} of foreach is empty")
    return key


def _list_of(value: Any) -> list[Any]:
    items = value
    if isinstance(value, str):
        try:
            items = json.loads(value)
        except ValueError:
            raise StepFailed(f"the items of foreach are a list, not {value!r:.80}") from None
    if not isinstance(items, list):
        raise StepFailed(f"the items of foreach are a list, not {text_of(items)!r:.80}")
    if len(items) > MOST:
        raise StepFailed(f"foreach has {len(items):,} items; {MOST:,} is the most")
    return items


def _end(inner: Plan, do: Foreach) -> dict[str, Any]:
    """How the steps of one item have ended, and what was collected of them."""
    failure = failed_of(inner)
    if failure is None:
        try:
            collect: Mapping[str, str] = do.collect
            found = inner.names_at_end()
            outputs = {name: found.value(text) for name, text in collect.items()}
        except LookupError as exc:
            failure = StepFailed(f"collect: {exc}")
        else:
            return {"status": "succeeded", "outputs": outputs}
    return {"status": "failed", "error": str(failure), "exit_code": failure.exit_code}


def _collected(records: list[dict[str, Any]]) -> Made:
    failed = [one for one in records if one["status"] == "failed"]
    good = [one for one in records if one["status"] == "succeeded"]
    summary = {"total": len(records), "succeeded": len(good), "failed": len(failed)}
    items = [{name: one for name, one in record.items() if name != "exit_code"} for record in records]
    document = {"summary": summary, "items": items, "outputs": [one["outputs"] for one in good]}
    text = json.dumps(document, ensure_ascii=False)
    if failed:
        first = failed[0]
        raise StepFailed(
            f"{len(failed)} of {len(records)} items failed; {first['key']}: {first['error']}", first.get("exit_code"),
            result={"stdout": text, "outputs": document},
        )  # fmt: skip
    return Made(0, text, "", text, document)
