"""xmap, xstarmap, chunks: one task called with many arguments, many calls to a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from liteq.canvas.node import Node
from liteq.canvas.primitives import group
from liteq.canvas.signature import Signature, maybe_signature
from liteq.context import App
from liteq.policy.arguments import REDACTED

__all__ = ["ACCUMULATE", "CHUNKS", "MAP", "STARMAP", "chunks", "xmap", "xstarmap"]

# The tasks that every app has for them.
MAP, STARMAP, CHUNKS, ACCUMULATE = "celery.map", "celery.starmap", "celery.chunks", "celery.accumulate"

REPR_LENGTH = 100


class _Map(Signature):
    """Calls `task` with each of `it`, one after the other, in one message; the result is the list of the results."""

    __slots__ = ()

    TASK = ""
    CALL = ""

    def __init__(self, task: Any, it: Iterable[Any], app: App | None = None, **options: Any) -> None:
        content = {"task": maybe_signature(task, where=type(self).__name__), "it": _listed(it)}
        super().__init__(self.TASK, (), content, options, subtask_type=type(self).__name__, immutable=True, app=app)

    @classmethod
    def rebuild(cls, d: Mapping[str, Any], app: App | None) -> Signature:
        return cls(d["kwargs"]["task"], d["kwargs"]["it"], app=app).set(**(d.get("options") or {}))

    def __repr__(self) -> str:
        items = repr(self.kwargs["it"]) if self.kwargs["task"].secretive() is None else REDACTED
        short = items if len(items) <= REPR_LENGTH else items[: REPR_LENGTH - 3] + "..."
        return f"[{self.kwargs['task'].task}({self.CALL}) for x in {short}]"

    def bound_app(self) -> App | None:
        return self._app or self.kwargs["task"].bound_app()


@Signature.register_type("xmap")
class xmap(_Map):  # noqa: N801 - Celery's name
    """`[task(x) for x in it]` in one message."""

    __slots__ = ()
    TASK, CALL = MAP, "x"


@Signature.register_type("xstarmap")
class xstarmap(_Map):  # noqa: N801 - Celery's name
    """`[task(*x) for x in it]` in one message."""

    __slots__ = ()
    TASK, CALL = STARMAP, "*x"


@Signature.register_type("chunks")
class chunks(Signature):  # noqa: N801 - Celery's name
    """`task(*x)` for each of `it`, `n` of them to a message: a group of starmaps. The result is a list of lists."""

    __slots__ = ()

    def __init__(self, task: Any, it: Iterable[Any], n: int, app: App | None = None, **options: Any) -> None:
        if n < 1:
            raise ValueError(f"a chunk has at least 1 element, not {n}")
        content = {"task": maybe_signature(task, where="chunks"), "it": _listed(it), "n": n}
        super().__init__(CHUNKS, (), content, options, subtask_type="chunks", immutable=True, app=app)

    @classmethod
    def rebuild(cls, d: Mapping[str, Any], app: App | None) -> Signature:
        content = d["kwargs"]
        return cls(content["task"], content["it"], content["n"], app=app).set(**(d.get("options") or {}))

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: App | None = None) -> Any:
        """Send the chunks; a GroupResult."""
        return cls(task, it, n, app=app)()

    def __call__(self, **options: Any) -> Any:
        return self.apply_async(**options)

    def group(self) -> group:
        """The group that it stands for, with its options."""
        task = self.kwargs["task"]
        parts = [xstarmap(task, part) for part in _parts(self.kwargs["it"], self.kwargs["n"])]
        return group(parts, app=self._app).set(**self.options)

    def expanded(self) -> Signature:
        return self.group()

    def freeze_node(self, _id: str | None = None) -> Node:
        raise TypeError("chunks cannot be frozen: freeze its .group() and send that")

    def bound_app(self) -> App | None:
        return self._app or self.kwargs["task"].bound_app()


def _listed(it: Iterable[Any]) -> Any:
    return it if isinstance(it, (list, tuple)) else list(it)


def _parts(it: Iterable[Any], n: int) -> Iterator[list[Any]]:
    elements = iter(it)
    while part := list(islice(elements, n)):
        yield part
