"""Options of the steps of an agent: of the capability, and of a tool in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelHTTPError,
    ModelRequestRejectedError,
    UnexpectedModelBehavior,
    UserError,
)

from liteq.workflow import StepOptions

__all__ = ["METADATA", "Hopeless", "merged", "of_metadata"]

METADATA = "liteq"
AGAIN = frozenset({408, 409, 425, 429})  # of 4xx, those that another attempt may change
OF_THE_BODY = ("tx", "queue", "priority", "compensate")  # options that a step of an agent cannot have


class _Kind(type):
    def __instancecheck__(cls, exc: Any) -> bool:
        if isinstance(exc, ModelHTTPError):
            return 400 <= exc.status_code < 500 and exc.status_code not in AGAIN
        if isinstance(exc, (ModelAPIError, UnexpectedModelBehavior)):
            return isinstance(exc, ModelRequestRejectedError)
        return isinstance(exc, (UserError, AgentRunError))


class Hopeless(Exception, metaclass=_Kind):
    """Stands in `give_up_on` for errors that another attempt gets again: a wrong key, a request that is refused."""


def merged(retries: int | None, options: StepOptions | None, what: str, **more: Any) -> StepOptions:
    """The options of one kind of step. `more`: those that are given once for all, where not None."""
    given = {name: value for name, value in more.items() if value is not None}
    if retries is not None:
        given["retries"] = retries
    base = StepOptions(give_up_on=Hopeless, **given)
    return base if options is None else base | checked(options, what)


def checked(options: StepOptions, what: str) -> StepOptions:
    """`options`, without those that are for a step of a program's own."""
    if not isinstance(options, StepOptions):
        raise TypeError(f"{what} is a StepOptions, as StepOptions(retries=3), not {options!r}")
    for name in OF_THE_BODY:
        if name in options.given:
            raise ValueError(f"{what}: {name}= is for a step that a program declares, not for one of an agent")
    return options


def of_metadata(tool: object | None, name: str, base: StepOptions) -> StepOptions | bool:
    """The options of a tool: `base`, and over it what its metadata say; False where it runs in the body."""
    found = getattr(getattr(tool, "tool_def", None), "metadata", None)
    said = None if found is None else found.get(METADATA)
    if said is None:
        return base
    if said is False:
        return False
    what = f"the metadata {METADATA!r} of the tool {name!r}"
    if isinstance(said, StepOptions):
        return base | checked(said, what)
    if not isinstance(said, Mapping):
        raise UserError(f"{what} are options of a step, as {{'retries': 3}}, or False, not {said!r}")
    try:
        return base | checked(StepOptions(**said), what)
    except (TypeError, ValueError) as exc:
        raise UserError(f"{what}: {exc}") from exc
