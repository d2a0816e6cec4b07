"""The algebra of `|`, which joins signatures to chains and chords; `chain` is it in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from liteq.canvas.composite import listed
from liteq.canvas.primitives import _chain, chord, group, is_void, unrolled
from liteq.canvas.signature import Signature

__all__ = ["chain"]

LINKS = frozenset({"link", "link_error"})


class chain(_chain):  # noqa: N801 - Celery's name
    """`chain(a, b, c)`, or of one iterable: the same as `a | b | c`.

    With options, or of one signature, it stays the chain that is written down.
    """

    __slots__ = ()

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        if not options and tasks and (len(tasks) > 1 or not isinstance(tasks[0], Mapping)):
            return folded(tasks if len(tasks) > 1 else tasks[0])
        return super().__new__(cls)


def join(left: Signature, right: Signature) -> Signature:
    """`left | right`: a chord where `left` is a group, the body's continuation where it is a chord, else a chain."""
    if is_void(right):
        return left
    left = left.expanded()
    if isinstance(left, group):
        return chord(left, right, app=left._app)
    single = unrolled(right)
    if isinstance(left, chord) and not isinstance(single, (group, _chain)):
        copy = left.clone()
        copy.body = single if copy.body is None else copy.body | single
        return copy
    if isinstance(left, _chain):
        tasks = left.unchain_tasks()
        if not tasks and isinstance(single, group):
            return single
        joined = _chain(upgraded([*tasks, single]), app=left._app)
        kept = {key: value for key, value in left.options.items() if key not in LINKS and key != "task_id"}
        return joined.set(**kept) if kept else joined
    return _chain(upgraded([left, single]), app=left._app)


def spliced(tasks: Iterable[Signature]) -> Iterator[Signature]:
    """`tasks` with the tasks of chains in the place of those chains, and without void parts."""
    for task in map(unrolled, tasks):
        if is_void(task):
            continue
        if isinstance(task, _chain) and task.options.keys() <= LINKS:
            yield from spliced(task.unchain_tasks())
        else:
            yield task


def upgraded(tasks: Iterable[Signature]) -> list[Signature]:
    """`tasks` as a chain's: spliced, and a group before anything but a group becomes a chord's header."""
    steps: list[Signature] = []
    for task in spliced(tasks):
        if steps and isinstance(steps[-1], group) and not isinstance(task, group):
            steps[-1] = chord(steps[-1], task)
        else:
            steps.append(task)
    return steps


def folded(tasks: Any) -> Signature:
    """`tasks` joined by `|`, in one go: a chain, or the one group or chord that is left."""
    steps = upgraded(listed(tasks, "chain()"))
    if len(steps) == 1 and isinstance(steps[0], (group, chord)):
        return steps[0]
    return _chain(steps)


Signature.joiner = staticmethod(join)
