"""Signature: one call of a task, as a value that can be joined, completed, stored as JSON, and sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar, Self, TypeVar

from liteq.canvas.node import Node
from liteq.canvas.options import as_list, item, merged_options, option, refuse
from liteq.context import App, get_current_app, in_workflow_body
from liteq.message import new_id

__all__ = ["Signature", "maybe_signature", "signature"]

S = TypeVar("S", bound="type[Signature]")


class Signature(dict[str, Any]):
    """A task's name with arguments and options, to be called later, perhaps with more of them.

    Arguments of the call come before the signature's own, unless it is immutable (`si`). It is a dict, so that any
    serializer carries it; `Signature.from_dict` makes it a signature again.
    """

    __slots__ = ("__dict__", "_app", "_type")  # a __dict__ too: attributes of one's own, and patches

    TYPES: ClassVar[dict[str, type[Signature]]] = {}
    joiner: ClassVar[Any]
    """The function behind `|`; set by the algebra, which knows signatures, so that they cannot import it."""
    stamper: ClassVar[Any]
    """The class that stamps a canvas, `Stamper`; set by the room's face, which alone knows its `compat/`."""

    _app: App | None
    _type: Any

    def __init__(
        self,
        task: Any = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: App | None = None,
        **more_options: Any,
    ) -> None:
        self._app = app
        self._type = type
        if isinstance(task, dict):
            super().__init__(task)
            self._complete()
            return
        if task is not None and not isinstance(task, str):
            self._type, task = task, getattr(task, "name", None)
        if not isinstance(task, str) or not task:
            raise TypeError(
                f"a signature needs a task or a task's name, not {task if self._type is None else self._type!r}"
            )
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **more_options},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    @staticmethod
    def of_call(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], app: App) -> Signature:
        """The signature of one call of `task`, which has a name; its arguments are kept as they are.

        In a quarter of the time of `Signature(...)`, which looks at each of them: programs make very many of these.
        """
        sig = Signature.__new__(Signature)
        dict.update(sig, task=task.name, args=args, kwargs=kwargs, options={}, subtask_type=None, immutable=False)
        sig._app, sig._type = app, task
        return sig

    def _complete(self) -> None:
        """Fill in the keys that a dict from elsewhere may lack. Raises TypeError where it is no signature."""
        if not isinstance(self.get("task"), str):
            raise TypeError(f"a signature's dict has the key 'task' with a task's name; this one has {sorted(self)}")
        self["args"] = tuple(self.get("args") or ())
        self["kwargs"] = dict(self.get("kwargs") or {})
        self["options"] = dict(self.get("options") or {})
        self.setdefault("subtask_type", None)
        self["immutable"] = bool(self.get("immutable", False))

    # -- the keys ----------------------------------------------------------------------------------------------------

    task: str = item("task")
    args: tuple[Any, ...] = item("args", tuple)
    kwargs: dict[str, Any] = item("kwargs")
    options: dict[str, Any] = item("options")
    subtask_type: str | None = item("subtask_type")
    immutable: bool = item("immutable")
    id: str | None = option("task_id")
    """The id that it will be sent under, once frozen or set."""
    parent_id: str | None = option("parent_id")
    root_id: str | None = option("root_id")

    @property
    def name(self) -> str:
        """The name of its task."""
        return self.task

    # -- copies ------------------------------------------------------------------------------------------------------

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[S], S]:
        """Class decorator: dicts whose `subtask_type` is `name` become signatures of this class."""

        def register(subclass: S) -> S:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: App | None = None) -> Signature:
        """The signature of which `d` is the dict. Raises TypeError when it is not one's."""
        kind = d.get("subtask_type")
        if kind is None:
            return Signature(dict(d), app=app)
        try:
            target = cls.TYPES[kind]
        except (KeyError, TypeError):
            raise TypeError(f"no signature has the type {kind!r}; known are {', '.join(cls.TYPES)}") from None
        made = target.rebuild(d, app)
        made.immutable = bool(d.get("immutable", False))
        return made

    @classmethod
    def rebuild(cls, d: Mapping[str, Any], app: App | None) -> Signature:
        """A signature of this very class from its dict."""
        return cls(dict(d), app=app)

    def merge(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, *, force: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call with `args` and `kwargs`: its own alone where it is immutable, unless `force`."""
        if self.immutable and not force:
            return self.args, self.kwargs
        return (
            (*args, *self.args) if args else self.args,
            {**self.kwargs, **kwargs} if kwargs else self.kwargs,
        )

    def clone(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        immutable: bool | None = None,
        **options: Any,
    ) -> Self:
        """A copy, with `args` before its own, `kwargs` and `options` over its own. Links are copied too.

        `immutable=True`: no result is added to the copy's arguments.
        """
        args, kwargs = self.merge(args, kwargs)
        copy = self.__class__.__new__(self.__class__)
        dict.update(copy, self, args=args, kwargs=dict(kwargs))
        # Deep, so that links and headers are not shared; signatures in them are copied by `clone`.
        copy["options"] = deepcopy(merged_options(self.options, options)) if self.options or options else {}
        if immutable is not None:
            copy["immutable"] = immutable
        copy._app, copy._type = self._app, self._type
        return copy

    partial = clone

    def replace(
        self,
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """A copy in which the given values take the place of its own."""
        copy = self.clone()
        if args is not None:
            copy.args = tuple(args)
        if kwargs is not None:
            copy.kwargs = kwargs
        if options is not None:
            copy.options = options
        return copy

    # -- changes in place --------------------------------------------------------------------------------------------

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Add options, as for `apply_async`; returns self."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        self.immutable = immutable

    def link(self, callback: Any) -> Any:
        """Run `callback` with the result when this succeeds; returns `callback`."""
        return self.append_to_list_option("link", maybe_signature(callback, where="link()"))

    def link_error(self, errback: Any) -> Any:
        """Run `errback` when this fails; returns `errback`."""
        return self.append_to_list_option("link_error", maybe_signature(errback, where="link_error()"))

    def on_error(self, errback: Any) -> Self:
        """As `link_error`, but returns self, so that it can be chained."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add `value` to the list option `key` unless an equal one is in it; returns `value`."""
        items = self.options[key] = as_list(self.options.get(key))
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add the items of `value` to the list option `key`."""
        self.options[key] = as_list(self.options.get(key)) + as_list(value)

    def flatten_links(self) -> list[Signature]:
        """This signature and all that is linked to its success, and to theirs."""
        flat: list[Signature] = [self]
        for link in as_list(self.options.get("link")):
            flat += Signature.from_dict(link).flatten_links() if type(link) is dict else link.flatten_links()
        return flat

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        """Stamp this and everything below it with `headers` and with those of `visitor`; see `StampingVisitor`."""
        return self.stamper(visitor, append_stamps).stamp(self, headers)

    # -- calls -------------------------------------------------------------------------------------------------------

    @property
    def app(self) -> App:
        """The app that it goes through: its own, its first part's, else the current one."""
        return self.bound_app() or get_current_app()

    def bound_app(self) -> App | None:
        return self._app

    @property
    def type(self) -> Any:
        """The task. Raises NotRegistered."""
        return self._type if self._type is not None else self.app.tasks[self.task]

    @type.setter
    def type(self, value: Any) -> None:
        self._type = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here and now; returns the task's return value."""
        args, kwargs = self.merge(args, kwargs)
        return self.type(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it with `args` before its own arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send it with `args` before its own; `options` override its own. Returns an AsyncResult or GroupResult."""
        given = {key: value for key, value in options.items() if value is not None}
        return self.app.sender.send_signature(self, tuple(args or ()), kwargs, **given)

    async def adelay(self, *args: Any, **kwargs: Any) -> Any:
        """`delay()` for async code: while it is written, others have the event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(self, *args: Any, **options: Any) -> Any:
        """`apply_async()` for async code, as `adelay`."""
        from liteq.utils.async_threads import writing

        if in_workflow_body():
            return self.apply_async(*args, **options)
        return await writing(self.app, self.apply_async, *args, **options)

    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it in this process, as a worker would; returns an EagerResult or GroupResult."""
        given = {key: value for key, value in options.items() if value is not None}
        return self.app.sender.apply_signature(self, tuple(args or ()), kwargs, **given)

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Give it, and all its parts, their ids now, so that results are known before it is sent.

        `_id` is the id to use where it has none: a task's own, a chain's last one's, a chord's body's. Returns the
        result. A frozen signature is one call: sent twice, it still runs once.
        """
        given = {"group_id": group_id, "chord": chord, "root_id": root_id, "parent_id": parent_id}
        self.options.update({key: value for key, value in given.items() if value})
        if group_index is not None:
            self.options["group_index"] = group_index
        return self.app.sender.result_of(self.freeze_node(_id))

    def freeze_node(self, _id: str | None = None) -> Node:
        """As `freeze`, without an app: the ids alone."""
        return Node(self.options.setdefault("task_id", _id or new_id()))

    # -- as a value --------------------------------------------------------------------------------------------------

    def __or__(self, other: Any) -> Any:
        """`self | other`: `other` runs after it, with its result."""
        if not isinstance(other, dict):
            return NotImplemented
        return self.joiner(self, maybe_signature(other, where="|"))

    def __ror__(self, other: Any) -> Any:
        # dict has this too, as an update: `{...} | sig` joins where the dict is a signature's.
        return maybe_signature(other, where="|") | self if isinstance(other, dict) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        # dict has `|=` as an update in place; here it joins, like `|`.
        return self.__or__(other)

    def __invert__(self) -> Any:
        """`~sig`: send it and wait for its result."""
        return self.apply_async().get()

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """How the call with `args` and `kwargs` reads: `tasks.add(2, 2, debug=True)`."""
        args, kwargs = self._shown(*self.merge(args, kwargs, force=True))
        parts = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
        return f"{self.task}({', '.join(parts)})"

    def _shown(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        task = self.secretive()
        if task is None:
            return args, kwargs
        shown: tuple[Any, Any] = task.redacted(args, kwargs, in_front=(0, 0) if self.immutable else None)
        return shown

    def secretive(self) -> Any:
        """The task, where it has sensitive arguments and is known here, so that a repr hides them; else None."""
        app = self.bound_app()
        task = self._type if self._type is not None or app is None else app.tasks.get(self.task)
        return task if getattr(task, "sensitive", False) else None

    def __repr__(self) -> str:
        return self.reprcall()

    def __reduce__(self) -> Any:
        return signature, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.clone()

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def expanded(self) -> Signature:
        """The signature that stands for it in a chain or a group: itself, but for `chunks`."""
        return self


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """A signature of a task, or of a task's name, with `Signature`'s parameters; of a dict; or a signature's copy."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, dict):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


def maybe_signature(d: Any, app: App | None = None, clone: bool = False, *, where: str = "a canvas") -> Any:
    """`d` as a signature: a dict becomes one, None stays None. Raises TypeError for all else."""
    if d is None:
        return None
    if isinstance(d, Signature):
        made = d.clone() if clone else d
    elif isinstance(d, Mapping):
        made = Signature.from_dict(d)
    else:
        refuse(d, where)
    if app is not None:
        made._app = app
    return made
