"""The app's doors to durable workflows. The room behind them is imported when the first one is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from liteq.exceptions import AlreadyRegistered
from liteq.utils.misspelt import suggesting

if TYPE_CHECKING:
    from liteq.app.registrar import Registrar
    from liteq.policy.keyed import Spec
    from liteq.utils.durations import Duration
    from liteq.workflow.client.run import Run as _Run
    from liteq.workflow.declared.budgets import Budget
    from liteq.workflow.declared.step import Step
    from liteq.workflow.declared.step_checks import Backoff, Doubt, Errors, Fallback, Spends
    from liteq.workflow.flow import Workflow

__all__ = ["Workflows"]

P = ParamSpec("P")
R = TypeVar("R")


class Workflows:
    """`app.workflow`, `app.step`, `app.Run` and `app.runs`."""

    registrar: Registrar
    _lock: threading.RLock

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a function that was given none: `module.name`."""
        raise NotImplementedError

    @cached_property
    def steps_of_workflows(self) -> dict[str, Step[Any, Any]]:
        """The steps, by name."""
        return {}

    @cached_property
    def versions_of_workflows(self) -> dict[str, dict[str, Workflow[Any, Any]]]:
        """The workflows by name and version; of `app.tasks` each name has the one that was declared last."""
        return {}

    @overload
    def workflow(self, name: Callable[P, R], /) -> Workflow[P, R]: ...
    @overload
    def workflow(
        self,
        name: str | None = None,
        *,
        version: str = "1",
        queue: str | None = None,
        priority: int = 0,
        timeout: Duration | None = None,
        max_concurrency: int | None = None,
        concurrency_key: Spec | None = None,
        limits: Spec | Sequence[Spec] = (),
        fair_key: Spec | None = None,
        unique: Any = None,
        sensitive: bool | Sequence[str] = (),
        budget: Budget | None = None,
    ) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...
    def workflow(self, name: Any = None, **options: Any) -> Any:
        """Make a workflow of a function: `@app.workflow`, or with options `@app.workflow(timeout="1d")`.

        version: a run keeps to the code of the version with which it was started, where that is still there. timeout:
        from the first activation, waits included; then the run is cancelled and has failed (TimeLimitExceeded).
        max_concurrency: of runs that execute at once; a run that waits has no place. concurrency_key: it is counted
        apart for each key, "user:{user_id}" or f(*args, **kwargs). limits: further keys, whose limits `app.limits`
        sets. fair_key: its values take turns. unique: as of a task; a start has the run that stands,
        where one does. sensitive: parameters that nobody is shown, True for all. budget: how much a run and its
        children may spend.
        """
        from liteq.workflow.flow import Workflow

        def decorate(function: Any, named: str | None = None) -> Any:
            _check_function(function, "workflow")
            name = named or self.gen_task_name(function.__name__, function.__module__)
            flow = Workflow(self, function, name, **options)  # type: ignore[arg-type]
            with self._lock:
                versions = self.versions_of_workflows.setdefault(name, {})
                there = versions.get(flow.version)
                if there is None and not versions:
                    there = self.registrar.registry.get(name)
                if there is not None and _collide(there, function):
                    raise AlreadyRegistered(
                        f"two functions want to be the workflow {name!r}: give one a `name=`, or another `version=`"
                    )
                versions.pop(flow.version, None)
                versions[flow.version] = flow
                return self.registrar.register(flow)

        return decorate(name) if callable(name) else lambda function: decorate(function, name)

    @overload
    def step(self, name: Callable[P, R], /) -> Step[P, R]: ...
    @overload
    def step(
        self,
        name: str | None = None,
        *,
        retries: int = 0,
        backoff: Backoff = (1.0, 60.0),
        retry_on: Errors = (Exception,),
        give_up_on: Errors = (),
        timeout: Duration | None = None,
        memo: Duration | Literal[True] | None = None,
        memo_key: Callable[..., Any] | None = None,
        memo_scope: str | None = None,
        tx: bool | str | Callable[[], Any] = False,
        compensate: Callable[[Any], Any] | None = None,
        queue: str | None = None,
        limits: Spec | Sequence[Spec] = (),
        spends: Spends | None = None,
        fallback: Fallback | None = None,
        doubt: Doubt = "repeat",
        sensitive: bool | Sequence[str] = (),
    ) -> Callable[[Callable[P, R]], Step[P, R]]: ...
    def step(self, name: Any = None, **options: Any) -> Any:
        """Make a step of a function: `@app.step`, or with options `@app.step(retries=5, timeout="30s")`.

        retries: 3 makes 4 attempts. backoff: seconds, or (first, longest) doubling with full jitter, or f(attempt) ->
        seconds. retry_on, give_up_on: exception classes. timeout: of one attempt. memo: how long a result answers the
        same call of any run, True for ever; memo_key(*args, **kwargs): what makes a call the same, else all arguments;
        memo_scope: "tenant": only of runs that have the same tag "tenant:...", none where a run has no such tag.
        tx: True: its rows in the queue's file and its checkpoint are one commit; "alias": in Django's database;
        f() -> connection: in a database of one's own. compensate: f(result) is added to the innermost saga. queue:
        where it runs when it is sent. limits: keys, whose limits `app.limits` sets: while one lacks a place or a token
        the run waits, and has no worker. spends: what an attempt takes of the budget, "0.02" or {"tokens": 4000} or
        f(*args, **kwargs), True for the most that it ever took. fallback: {"model": ["m2"]}: other values of an
        argument, while the key of the first is paused. doubt: of a step that was begun, and whose process is gone:
        "repeat" it, "ask" a person, or f(step_key, *args, **kwargs) -> Done(result) or NotDone(), which looks whether
        its effect is there. sensitive: parameters that nobody is shown.
        """
        from liteq.workflow.declared.step import Step

        def decorate(function: Any, named: str | None = None) -> Any:
            _check_function(function, "step")
            name = named or self.gen_task_name(function.__name__, function.__module__)
            with self._lock:
                there = self.steps_of_workflows.get(name)
                if there is not None and _collide(there, function):
                    raise AlreadyRegistered(f"two functions want to be the step {name!r}: give one of them a `name=`")
                made = Step(self, function, name, options)  # type: ignore[arg-type]
                self.steps_of_workflows[name] = made
            return made

        return decorate(name) if callable(name) else lambda function: decorate(function, name)

    def Run(self, id: str) -> _Run[Any]:  # noqa: N802 - the name of what it makes
        """The run of this id. Nothing is read before it is asked something."""
        from liteq.workflow.client.run import Run

        return Run(self, id)  # type: ignore[arg-type]

    @suggesting
    def runs(
        self,
        *ids: str,
        name: str | None = None,
        status: str | None = None,
        tags: Sequence[str] = (),
        limit: int = 100,
        after: _Run[Any] | str | None = None,
    ) -> list[_Run[Any]]:
        """Runs, the newest first: those of `ids`, or those that fit; `after`: those started before that one."""
        from liteq.workflow.client.listing import listed

        return listed(self, ids, name=name, status=status, tags=tags, limit=limit, after=after)  # type: ignore[arg-type]


def _check_function(function: Any, what: str) -> None:
    """Refuse what is no function; a task, too, is no body of a workflow: it has options of its own."""
    if not callable(function) or (what == "workflow" and hasattr(function, "apply_async")):
        raise TypeError(f"a {what} is made of a function, not of {function!r:.80}")


def _collide(there: Any, function: Any) -> bool:
    """Whether two functions are one name by mistake: as of two tasks (registrar.py)."""
    from liteq.app.registrar import collide, origin, origin_of

    return collide(origin(there), origin_of(function))
