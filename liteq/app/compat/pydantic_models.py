"""Tasks with `pydantic=True`: models among the arguments are dumped when they are sent and validated before the body.

As in Celery since 5.5, extended to the sender: only parameters annotated with a model (or with one or None) are
looked at, everything else is passed on as it is, and a model that is returned is dumped where the annotation says so.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.records import NamedTuple

__all__ = ["Modelled", "modelled", "modelled_attributes"]


class Modelled(NamedTuple):
    """A task's function that takes plain data, and what makes plain data of the models that a caller passes."""

    function: Callable[..., Any]
    dump: Callable[[Sequence[Any], Mapping[str, Any]], tuple[list[Any], dict[str, Any]]]


class _Shape:
    """Which parameters of a function take which model."""

    def __init__(self, function: Callable[..., Any], base: type[Any]) -> None:
        self.signature = inspect.signature(function)
        try:
            hints = typing.get_type_hints(function)
        except (NameError, AttributeError, TypeError):  # an import that only the type checker makes
            hints = {name: p.annotation for name, p in self.signature.parameters.items()}
            hints["return"] = self.signature.return_annotation
        self.models = {
            name: model
            for name, p in self.signature.parameters.items()
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            and isinstance(model := _without_none(hints.get(name)), type)
            and issubclass(model, base)
        }
        self.returns = _without_none(hints.get("return"))


def _without_none(annotation: Any) -> Any:
    """`Model` of `Model | None`; any other annotation is itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


@contextmanager
def _hiding(sensitive: bool | str | Sequence[str], parameter: str, kind: type[Exception]) -> Iterator[None]:
    """Let an error of `kind` not tell the value of a parameter that is sensitive."""
    try:
        yield
    except kind as exc:
        names = {sensitive} if isinstance(sensitive, str) else sensitive
        if names is True or (names and parameter in names):
            raise _without_input(exc) from None
        raise


def _without_input(exc: Any) -> Any:
    """The same ValidationError without the values that were not valid: it is logged, and kept in the file."""
    from pydantic_core import PydanticCustomError

    errors = [
        {"type": PydanticCustomError(one["type"], "{text}", {"text": one["msg"]}), "loc": one["loc"], "input": None}
        for one in exc.errors(include_url=False, include_context=False, include_input=False)
    ]
    made = type(exc).from_exception_data(exc.title, errors, hide_input=True)
    made.args = exc.args
    return made


class _Models:
    """Validates the arguments of a function, and dumps models to plain data."""

    def __init__(
        self,
        shape: _Shape,
        base: type[Any],
        error: type[Exception],
        *,
        validating: dict[str, Any],
        dumping: dict[str, Any],
        sensitive: bool | Sequence[str],
    ) -> None:
        self._shape = shape
        self._base = base
        self._error = error
        self._validating = validating
        self._dumping = dumping
        self._sensitive = sensitive

    def validated(self, args: Any, kwargs: Any) -> inspect.BoundArguments:
        """The arguments of a call, plain data made models where a parameter takes one."""
        bound = self._shape.signature.bind(*args, **kwargs)
        for parameter, value in bound.arguments.items():
            model: Any = self._shape.models.get(parameter)
            if model is not None and value is not None:
                with _hiding(self._sensitive, parameter, self._error):
                    bound.arguments[parameter] = model.model_validate(value, **self._validating)
        return bound

    def returned(self, value: Any) -> Any:
        """A return value; a model is dumped where the annotation has it."""
        returns = self._shape.returns
        if isinstance(value, self._base) and isinstance(returns, type) and isinstance(value, returns):
            return self._dump(value)
        return value

    def dumped(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, skip: int) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as plain data; `skip`: parameters that come before them."""
        names = list(self._shape.signature.parameters)[skip:]
        return (
            [self._dumped(names[i] if i < len(names) else "", value) for i, value in enumerate(args)],
            {key: self._dumped(key, value) for key, value in kwargs.items()},
        )

    def _dumped(self, parameter: str, value: Any) -> Any:
        """A model that its parameter's annotation brings back is dumped; any other is left for the serializer."""
        fits = isinstance(value, self._base) and isinstance(value, self._shape.models.get(parameter, ()))
        return self._dump(value) if fits else value

    def _dump(self, value: Any) -> Any:
        return value.model_dump(**self._dumping)


def modelled(
    function: Callable[..., Any],
    app: App,
    name: str,
    *,
    bind: bool = False,
    strict: bool = False,
    context: Mapping[str, Any] | None = None,
    dump_kwargs: Mapping[str, Any] | None = None,
    sensitive: bool | Sequence[str] = (),
) -> Modelled:
    """`function` as the body of a task with `pydantic=True`.

    `strict`, `context` and `dump_kwargs` are pydantic's, of `model_validate` and `model_dump`; `app` and `name` are in
    the context too, as Celery has it. A call raises pydantic's ValidationError for a value that does not fit. Raises
    ImproperlyConfigured where pydantic is not installed. That error does not show the input of a `sensitive` parameter.
    """
    try:
        from pydantic import BaseModel, ValidationError
    except ImportError:
        raise ImproperlyConfigured(f"the task {name!r} says pydantic=True: install pydantic") from None
    models = _Models(
        _Shape(function, BaseModel),
        BaseModel,
        ValidationError,
        validating={"strict": strict, "context": {**(context or {}), "celery_app": app, "celery_task_name": name}},
        dumping={"mode": "json", **(dump_kwargs or {})},
        sensitive=sensitive,
    )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = models.validated(args, kwargs)
        return models.returned(function(*bound.args, **bound.kwargs))

    @functools.wraps(function)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        bound = models.validated(args, kwargs)
        return models.returned(await function(*bound.args, **bound.kwargs))

    dump = functools.partial(models.dumped, skip=1 if bind else 0)
    return Modelled(acall if inspect.iscoroutinefunction(function) else call, dump)


def modelled_attributes(function: Any, app: App, name: str, *, bind: bool, **how: Any) -> dict[str, Any]:
    """The attributes of a task with `pydantic=True`: its body, and how models among the arguments are sent."""
    made = modelled(function, app, name, bind=bind, **how)
    return {"run": made.function if bind else staticmethod(made.function), "dump_models": staticmethod(made.dump)}
