"""`StepOptions`: options of a step as a value, for calls whose steps a program or a framework makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteq.policy.keyed import Spec
from liteq.utils.durations import Duration
from liteq.utils.misspelt import suggesting
from liteq.workflow.declared.step import KEEP, Step, given_of
from liteq.workflow.declared.step_checks import Backoff, Doubt, Errors, Fallback, Spends

__all__ = ["StepOptions"]


class StepOptions:
    """Options of a step: those of `@app.step`, each as there; one that is not given keeps its default.

    `a | b`: those of `a`, but for those that `b` has. `given`: the options as a dict. Raises TypeError and ValueError
    as `@app.step` does, for a misspelt name too.
    """

    __slots__ = ("given",)

    @suggesting
    def __init__(
        self,
        *,
        retries: int = KEEP,
        backoff: Backoff = KEEP,
        retry_on: Errors = KEEP,
        give_up_on: Errors = KEEP,
        timeout: Duration | None = KEEP,
        memo: Duration | bool | None = KEEP,
        memo_key: Callable[..., Any] | None = KEEP,
        memo_scope: str | None = KEEP,
        tx: bool | str | Callable[[], Any] = KEEP,
        compensate: Callable[[Any], Any] | None = KEEP,
        queue: str | None = KEEP,
        priority: int | None = KEEP,
        limits: Spec | Sequence[Spec] = KEEP,
        spends: Spends | None = KEEP,
        fallback: Fallback | None = KEEP,
        doubt: Doubt = KEEP,
        sensitive: bool | Sequence[str] = KEEP,
    ) -> None:
        given = given_of(locals())
        self.given: Mapping[str, Any] = given
        unbound: Any = None
        Step(unbound, _anything, "options", given)  # raises for those that are none

    def __or__(self, other: StepOptions) -> StepOptions:
        return StepOptions(**{**self.given, **other.given})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepOptions) and other.given == self.given

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"StepOptions({', '.join(f'{name}={value!r}' for name, value in self.given.items())})"


def _anything(*args: Any, **kwargs: Any) -> Any:
    """A function that takes what a step's function may take."""
