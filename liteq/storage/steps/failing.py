"""The step at which a run failed, and all that its body did because of that: what a retry goes on from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from liteq.message import StepRow
from liteq.serialization import ErrorDoc, decode_error
from liteq.storage.steps.rows import given_up_ms, was_cut_off
from liteq.utils.records import NamedTuple

__all__ = ["Failed", "failed", "position"]

DOES = frozenset({"step", "call", "spawn", "map", "send"})
SCOPES = frozenset({"", "/", "#", "="})  # beginnings of a body's scopes; others are those of an agent's tools
OUT_OF_TIME = frozenset({"EventTimeout", "ApprovalTimeout"})


class Failed(NamedTuple):
    """The steps that a retry forgets (`gone`), and those that it sets aside (`left`)."""

    gone: list[StepRow]
    left: list[StepRow]


def failed(steps: Sequence[StepRow], error: ErrorDoc | None, ended_ms: int | None) -> Failed:
    """The step of which a run has failed by `error`, those that were cut off because of it, and those behind it.

    `ended_ms`: when the run ended. Children that this has cut off are gone in any case: the body saw no end of them. So
    are waits that were given up with their branches behind all else.

    A wait that has timed out counts as a failed step. Of the steps behind the failed one, those that have done
    something are set aside: the body may take the same way now, or another one. A wait begins anew. The failed step
    stays where the body has dealt with each failure, and has raised an error of its own later on.
    """
    over = _out_of_time(steps, error)
    ended = [step for step in steps if step.error is not None and step.ended_ms is not None] + over
    cut_off = dict.fromkeys(step for step in ended if was_cut_off(step))
    own = [step for step in ended if step not in cut_off]
    begun_ms = max((step.started_ms for step in steps), default=0)
    if not own:
        return Failed([step for step in ended if not 0 <= given_up_ms(step) < begun_ms], [])
    waited = {*over}
    told = [step for step in own if step in waited or _is_told(step, error)]
    last = max(told or own, key=lambda step: (step.ended_ms or 0, step.ended or 0, step.started_ms, step.pos))
    behind = _behind(last, steps)
    beside = [*_since(last, steps)]
    unseen = [step for step in cut_off if step.child is not None and (step.ended_ms or 0) >= (ended_ms or 0)]
    unseen += [step for step in cut_off if given_up_ms(step) >= begun_ms]  # it may be for the error of the run
    if not told and (behind or any(step.started_ms > (last.ended_ms or 0) for step in beside)):
        return Failed(unseen, [])
    because = [step for step in cut_off if (step.ended_ms or 0) >= (last.ended_ms or 0)]
    gone = dict.fromkeys([last, *because, *unseen])
    others = [step for step in [*behind, *beside] if step not in gone]
    # The rest of the same work, as in a loop: the body has dealt with its failures, which stay answers. A failure of a
    # clean-up does not: the clean-up is tried again.
    is_work = any((step.kind, step.name) == (last.kind, last.name) for step in others)
    again = set[StepRow]() if is_work else {*own}
    left = [step for step in others if _has_done(step) and step not in again]
    known = {*left}
    return Failed([*gone, *(step for step in others if step not in known)], left)


def _has_done(step: StepRow) -> bool:
    """Whether a step has ended that was called for what it does, and not for a wait."""
    return step.kind in DOES and step.ended_ms is not None


def _out_of_time(steps: Sequence[StepRow], error: ErrorDoc | None) -> list[StepRow]:
    """The waits of which one made the run fail when its time was over: such a row bears no error."""
    if error is None or error.type not in OUT_OF_TIME:
        return []
    ended = [step for step in steps if step.kind in {"event", "approval"} and step.ended_ms is not None]
    return [step for step in ended if step.output is step.error is None and repr(step.name) in error.message]


def _chain(error: ErrorDoc | None) -> Iterator[ErrorDoc]:
    """An error, those of its group, and those that it was raised from."""
    while error is not None:
        yield error
        for member in error.members:
            yield from _chain(member)
        error = error.cause


def _is_told(step: StepRow, error: ErrorDoc | None) -> bool:
    """Whether the failure of `step` is that of the run, or what that was raised from.

    The body has got it from its document, and that of the run was made of this: the text may be another by then, as an
    OSError's without its file, and a class that is not loaded has its outer one's name in that of the module.
    """
    own = decode_error(step.error or b"")
    return any(
        one.type_name == own.type_name and (one.message == own.message or one.args == own.args) for one in _chain(error)
    )


def _behind(last: StepRow, steps: Sequence[StepRow]) -> list[StepRow]:
    """The calls that the code of `last` has made behind it, when it knew how that had ended.

    The code may take another path now, for which history must hold nothing.
    """
    scope, pos = _caller(last)
    later = [(at, step) for step in steps if (at := position(step, scope)) is not None and at > pos]
    if last.kind == "spawn":  # its end is told by a call without a row: gather, race, handle.result
        taken = {at for at, _ in later}
        pos = next(at for at in count(pos + 1) if at not in taken)
        later = [(at, step) for at, step in later if step.started_ms >= (last.ended_ms or 0)]
    return [step for at, step in later if at > pos]


def _since(last: StepRow, steps: Sequence[StepRow]) -> Iterator[StepRow]:
    """The calls with a key, and those of other branches, that began when `last` had ended."""
    scope, _ = _caller(last)
    for step in steps:
        is_later = step.started_ms >= (last.ended_ms or 0) and step.scope[:1] in SCOPES
        if is_later and position(step, scope) is None and step is not last:
            yield step


def _caller(step: StepRow) -> tuple[str, int]:
    """The place of a call; for an item of a map, that of the map."""
    if step.kind != "map":
        return step.scope, step.pos
    scope, _, number = step.scope.rpartition("#")
    return scope, int(number)


def position(step: StepRow, scope: str) -> int | None:
    """The position in `scope` of a call, of the map that it is an item of, or of the step that it asks about."""
    if step.scope == scope:
        return step.pos
    inner = step.scope.removeprefix(scope)
    if not step.scope.startswith(scope) or inner[:1] not in {"#", "?"} or not inner[1:].isdecimal():
        return None
    return int(inner[1:])
