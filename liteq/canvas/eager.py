"""Evaluating a canvas in this process, one task after the other: `apply()` and `task_always_eager`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from liteq import states
from liteq.canvas.maps import chunks
from liteq.canvas.options import as_list, merged_options
from liteq.canvas.primitives import _chain, chord, group, is_void
from liteq.canvas.signature import Signature, maybe_signature
from liteq.message import new_id

__all__ = ["evaluate", "members_of"]

LINKS = ("link", "link_error")
OF_THE_WHOLE = frozenset({"task_id", "group_id", "link", "link_error"})  # a chord's body has them, not its header
ENDED = frozenset({states.IGNORED, states.REJECTED})

# The results that tasks have added to the groups that are being evaluated, by the group's id.
_growing: ContextVar[Mapping[str, list[Any]]] = ContextVar("liteq_growing", default={})  # noqa: B039 - never changed

Run = Callable[[Signature, tuple[Any, ...], dict[str, Any], dict[str, Any]], Any]
Gather = Callable[[str, list[Any]], Any]


def evaluate(
    sig: Signature,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    run: Run,
    gather: Gather,
) -> Any:
    """The result of `sig` called with `args` before its own.

    `run(sig, args, kwargs, options)` runs one task with exactly these and returns an EagerResult; `gather(group_id,
    results)` makes a GroupResult. Raises what a failed task raised when another one needs its result.
    """
    return _Evaluation(run, gather).put(sig, args, dict(kwargs), options)


def members_of(group_id: str) -> list[Any] | None:
    """The results that were added to a group that is being evaluated, to be appended to; None where it is not."""
    return _growing.get().get(group_id)


@contextmanager
def _growing_group(group_id: str) -> Iterator[list[Any]]:
    added: list[Any] = []
    token = _growing.set({**_growing.get(), group_id: added})
    try:
        yield added
    finally:
        _growing.reset(token)


class _Evaluation:
    def __init__(self, run: Run, gather: Gather) -> None:
        self.run = run
        self.gather = gather

    def put(self, sig: Any, args: tuple[Any, ...], kwargs: dict[str, Any], over: Mapping[str, Any]) -> Any:
        sig = maybe_signature(sig)
        options = merged_options(sig.options, over)
        match sig:
            case chunks():
                return self.put(sig.group(), (), {}, over)
            case _chain():
                return self._chain(sig, args, kwargs, options)
            case group():
                return self._group(sig, args, kwargs, options)
            case chord():
                return self._chord(sig, args, kwargs, options)
            case _:
                merged_args, merged_kwargs = sig.merge(args, kwargs)
                return self.run(sig, merged_args, merged_kwargs, options)

    def _chain(self, sig: _chain, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        steps = sig.steps()
        if not steps:
            return self.gather(options.get("task_id") or new_id(), [])
        if sig.immutable:
            args, kwargs = (), {}
        else:
            args = (*args, *sig.args)
        errbacks = as_list(options.pop("link_error", None))
        links = as_list(options.pop("link", None))
        last_only: dict[str, Any] = {key: options.pop(key) for key in ("task_id", "group_id") if key in options}
        last = None
        for i, step in enumerate(steps, 1):
            over = _linked(step, {} if last is not None else options, {"link_error": errbacks})
            if i == len(steps):
                over = _linked(step, over, {"link": links})
                over |= last_only
            if last is not None and getattr(last, "state", None) in ENDED:
                return last  # it has asked that nothing come of it
            result = self.put(step, args if last is None else (last.get(),), kwargs if last is None else {}, over)
            result.parent, last = last, result
        return last

    def _group(self, sig: group, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        gid = options.pop("task_id", None) or new_id()
        links = {key: as_list(options.pop(key, None)) for key in LINKS}
        args = (*args, *sig.args)
        with _growing_group(gid) as added:
            own = [
                self.put(one, args, kwargs, _linked(one, {**over, "group_id": gid}, links))
                for one, over in sig.members(options)
            ]
        return self.gather(gid, own + added)

    def _chord(self, sig: chord, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        body = sig._demand_body()
        body_over = {key: value for key, value in options.items() if key not in ("countdown", "eta", "parent_id")}
        header_over = {key: value for key, value in options.items() if key not in OF_THE_WHOLE}
        header = self.put(sig.header_group(), (*args, *sig.args), {**sig.kwargs["kwargs"], **kwargs}, header_over)
        if is_void(body):
            return header
        links = {key: as_list(body_over.pop(key, None)) for key in LINKS}
        if isinstance(body, group) and links["link"]:
            # As chord.link() does it: once, and not for each task of the body.
            body = body.clone()
            for callback in links.pop("link"):
                body.link(callback)
        result = self.put(body, (header.get(),), {}, _linked(body, body_over, links))
        result.parent = header
        return result


def _linked(sig: Signature, over: Mapping[str, Any], links: Mapping[str, list[Any]]) -> dict[str, Any]:
    """`over`, with the `links` of what `sig` stands in beside its own; each is called once."""
    made = dict(over)
    for key, more in links.items():
        if more:
            own = as_list(over.get(key, sig.options.get(key)))
            made[key] = own + [link for link in more if link not in own]
    return made
