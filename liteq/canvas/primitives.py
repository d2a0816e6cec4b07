"""Chain, group and chord: signatures made of signatures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from liteq.canvas.composite import Composite, listed, shortened
from liteq.canvas.lazy import each_task, has_one, mapped
from liteq.canvas.node import Node
from liteq.canvas.options import as_list, without_polling
from liteq.canvas.signature import Signature, maybe_signature
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.message import new_id

__all__ = ["_chain", "_chord", "chord", "group", "is_void", "unrolled"]

CHAIN, GROUP, CHORD = "celery.chain", "celery.group", "celery.chord"


def is_void(sig: Any) -> bool:
    """True for a chain, group or chord in which there is no task to run."""
    if isinstance(sig, group):
        return not any(True for _ in sig.members())
    if isinstance(sig, chord):
        return sig.body is not None and is_void(sig.body) and all(map(is_void, sig.tasks))
    return isinstance(sig, _chain) and all(is_void(task) for task in sig.tasks)


def unrolled(sig: Signature) -> Signature:
    """The only member of a group of one; any other signature as it is."""
    sig = sig.expanded()
    while isinstance(sig, group) and has_one(sig.tasks):
        over = {key: value for key, value in sig.options.items() if key != "task_id"}
        sig = (sig.tasks[0].clone(**over) if over else sig.tasks[0]).expanded()
    return sig


@Signature.register_type("chain")
class _chain(Composite):  # noqa: N801 - Celery's name
    """Tasks one after the other, each with the result of the one before; see `liteq.canvas.algebra.chain`."""

    __slots__ = ()

    def __init__(self, *tasks: Any, app: App | None = None, **options: Any) -> None:
        if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
            tasks = tasks[0]
        steps = list(listed(tasks, "chain()"))
        super().__init__(CHAIN, (), {"tasks": steps}, options, subtask_type="chain", app=app)

    @classmethod
    def rebuild(cls, d: Mapping[str, Any], app: App | None) -> Signature:
        made = cls(list(d["kwargs"]["tasks"]), app=app).set(**(d.get("options") or {}))
        return made.clone(d["args"]) if d.get("args") else made

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Self:
        copy = super().clone(**options)
        copy.tasks = [task.clone(*((args, kwargs) if i == 0 else ())) for i, task in enumerate(self.tasks)]
        return copy

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply_async(args, kwargs) if self.tasks else None

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """As `Signature.apply_async`; the options are those of the first task. None when it is empty."""
        return super().apply_async(args, kwargs, **options) if self.tasks else None

    def steps(self) -> list[Signature]:
        """The tasks that run, one after the other: a group of one is its member, nothing is void."""
        return [step for step in map(unrolled, self.tasks) if not is_void(step)]

    def unchain_tasks(self) -> list[Signature]:
        """Copies of its tasks: the last has the chain's links, each has its errbacks."""
        tasks = [task.clone() for task in self.tasks]
        for callback in as_list(self.options.get("link")):
            tasks[-1].link(callback)
        for errback in as_list(self.options.get("link_error")):
            for task in tasks:
                task.link_error(errback)
        return tasks

    def freeze_node(self, _id: str | None = None) -> Node:
        # Copies: the same signature object may stand in a chain more than once, and in other chains.
        self.tasks = [step.clone() for step in self.steps()]
        node: Node | None = None
        for i, step in enumerate(self.tasks, 1):
            node = step.freeze_node((self.id or _id) if i == len(self.tasks) else None).follow(node)
        if node is None:
            return Node(self.options.setdefault("task_id", _id or new_id()), "group")
        self.options["task_id"] = node.id
        return node

    def __repr__(self) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return shortened(self.tasks[0].task, " | ".join(map(repr, self.tasks)))


@Signature.register_type("group")
class group(Composite):  # noqa: N801 - Celery's name
    """Tasks side by side: `group(a, b)`, or of one iterable. Its result is the list of theirs, in their order.

    Groups in it are unrolled, so that their tasks are its own.
    """

    __slots__ = ()

    def __init__(self, *tasks: Any, app: App | None = None, **options: Any) -> None:
        if len(tasks) == 1:
            only = tasks[0]
            if isinstance(only, group):
                tasks = only.tasks
            elif isinstance(only, Mapping):
                tasks = [maybe_signature(only, clone=True)]  # type: ignore[assignment]
            else:
                tasks = only
        members = listed(tasks, "group()", members=True)
        super().__init__(GROUP, (), {"tasks": members}, options, subtask_type="group", app=app)

    @classmethod
    def rebuild(cls, d: Mapping[str, Any], app: App | None) -> Signature:
        made = cls(d["kwargs"]["tasks"], app=app).set(**(d.get("options") or {}))
        return made.clone(d["args"]) if d.get("args") else made

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Self:
        copy = super().clone(**options)
        copy.tasks = mapped(self.tasks, lambda task: task.clone(args, kwargs))
        return copy

    def members(self, over: Mapping[str, Any] | None = None) -> Iterator[tuple[Signature, Mapping[str, Any]]]:
        """The tasks that run, side by side, as (signature, options over its own): no groups, nothing void."""
        over = over or {}
        for task in (task.expanded() for task in self.tasks):
            if isinstance(task, group):
                own = {key: value for key, value in task.options.items() if key != "task_id"}
                yield from task.members({**own, **over})
            elif not is_void(task):
                yield task, over

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """As `Signature.apply_async`; arguments and options are given to each task. Refuses links."""
        if options.get("link") is not None:
            raise TypeError("a group has no link of its own: join it with `|`, which makes it a chord")
        if options.get("link_error") is not None:
            raise TypeError("a group has no link_error of its own: group.link_error() gives one to each of its tasks")
        return super().apply_async(args, kwargs, **options)

    def link(self, callback: Any) -> Any:
        """Run `callback`, without an argument, when the first task succeeds, as in Celery; for all, use a chord."""
        callback = maybe_signature(callback, where="link()").clone().set(immutable=True)
        return self.tasks[0].link(callback)

    def link_error(self, errback: Any) -> Any:
        """Run `errback` for each task that fails; returns the tuple of its copies."""
        errback = maybe_signature(errback, where="link_error()")
        return tuple(task.link_error(errback.clone()) for task in self.tasks)

    def set_immutable(self, immutable: bool) -> None:
        each_task(self.tasks, lambda task: task.set_immutable(immutable))

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Spread its tasks over time: countdowns of `start`, `start + step`, ... seconds, at most `stop`."""
        for i, task in enumerate(self.tasks):
            countdown = float(start + i * step)
            task.set(countdown=countdown if stop is None else min(countdown, float(stop)))
        return self

    def freeze_node(self, _id: str | None = None) -> Node:
        # Copies: the same signature object may stand in a group more than once, and in other groups.
        members = [sig.clone(**over) for sig, over in self.members()]
        # The one that is left of several stays a group's: of a group of one, a chain takes the member.
        several = len(members) == 1 and isinstance(unrolled(self), group)
        self.tasks = [*members, group()] if several else members
        gid = self.options.setdefault("task_id", _id or new_id())
        return Node(gid, "group", [sig.freeze_node() for sig in members])

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True  # a signature is one even when empty; `if sig:` asks whether there is one

    def __repr__(self) -> str:
        if not self.tasks:
            return "group(<empty>)"
        return shortened(self.tasks[0].task, f"group({self.tasks!r})")


@Signature.register_type("chord")
class chord(Composite):  # noqa: N801 - Celery's name
    """A group, the header, and what runs when all of it has succeeded, with the list of its results: the body."""

    __slots__ = ()

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = CHORD,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        app: App | None = None,
        **options: Any,
    ) -> None:
        if isinstance(header, Mapping):
            header = maybe_signature(header)
            if isinstance(header, group):
                header = header if header.options else header.tasks
            else:
                header = header.tasks if isinstance(header, _chain) else [header]
        if not isinstance(header, group):
            header = listed(header, "a chord's header", members=True)
        content = {
            "kwargs": dict(kwargs or {}),
            "header": header,
            "body": maybe_signature(body, where="a chord's body"),
        }
        super().__init__(CHORD, tuple(args), content, without_polling(options), subtask_type="chord", app=app)

    @classmethod
    def rebuild(cls, d: Mapping[str, Any], app: App | None) -> Signature:
        content = d["kwargs"]
        made = cls(
            content["header"], content.get("body"), args=d.get("args") or (), kwargs=content.get("kwargs"), app=app
        )
        return made.set(**without_polling(d.get("options") or {}))

    @property
    def header(self) -> Any:
        return self.kwargs["header"]

    @property
    def body(self) -> Any:
        return self.kwargs["body"]

    @body.setter
    def body(self, value: Any) -> None:
        self.kwargs["body"] = value

    @property
    def tasks(self) -> Any:
        """The header's tasks."""
        return self.header.tasks if isinstance(self.header, group) else self.header

    @tasks.setter
    def tasks(self, value: Any) -> None:
        self.kwargs["header"] = value

    def header_group(self) -> group:
        """The header as a group; it shares its tasks with the chord."""
        if isinstance(self.header, group):
            return self.header
        made = group(app=self._app)
        made.tasks = self.header
        return made

    def parts(self) -> Iterator[Signature]:
        yield from self.tasks
        if self.body is not None:
            yield self.body

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Self:
        copy = super().clone(args, **options)
        header, body = self.header, self.body
        copy["kwargs"] = {
            "kwargs": {**self.kwargs["kwargs"], **(kwargs or {})},
            "header": header.clone() if isinstance(header, group) else mapped(header, lambda task: task.clone()),
            "body": None if body is None else body.clone(),
        }
        return copy

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with `body` where given."""
        return self.apply_async((), {"body": body} if body is not None else None, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """As `Signature.apply_async`: arguments go to the header's tasks, `task_id` and links to the body.

        A countdown or eta delays the header; `interval` and `max_retries` have no effect: nothing polls. All other
        options are those of header and body.
        """
        options, kwargs = without_polling(options), dict(kwargs or {})
        if (body := kwargs.pop("body", None)) is not None:
            return self._with_body(body).apply_async(args, kwargs, **options)
        return super().apply_async(args, kwargs, **options)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        kwargs = dict(kwargs or {})
        if (body := kwargs.pop("body", None)) is not None:
            return self._with_body(body).apply(args, kwargs, **options)
        return super().apply(args, kwargs, **options)

    def _with_body(self, body: Any) -> chord:
        copy = self.clone()
        copy.body = maybe_signature(body, where="a chord's body")
        return copy

    def link(self, callback: Any) -> Any:
        """Link `callback` to the body."""
        self._demand_body().link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Link `errback` to the body, which fails when anything in the header does: it is called once.

        To each task of the header too where `task_allow_error_cb_on_chord_header` is set.
        """
        errback = maybe_signature(errback, where="link_error()")
        if self._header_takes_errbacks():
            for task in self.tasks:
                task.link_error(errback.clone().set(immutable=True))
        self._demand_body().link_error(errback)
        return errback

    def _demand_body(self) -> Any:
        if self.body is None:
            raise TypeError("this chord has no body yet: chord(header)(body), or chord(header, body)")
        return self.body

    def _header_takes_errbacks(self) -> bool:
        try:
            return bool(self.app.conf.task_allow_error_cb_on_chord_header)
        except ImproperlyConfigured:  # no app yet: the default
            return False

    def set_immutable(self, immutable: bool) -> None:
        """Of the header's tasks only, as in Celery."""
        each_task(self.tasks, lambda task: task.set_immutable(immutable))

    def freeze_node(self, _id: str | None = None) -> Node:
        self.kwargs["header"] = header = self.header_group()
        node = header.freeze_node()
        if self.body is not None and not is_void(self.body):
            node = self.body.freeze_node(self.id or _id).follow(node)
        self.options["task_id"] = node.id
        return node

    def __length_hint__(self) -> int:
        return sum(1 for _ in self.header_group().members())

    def __repr__(self) -> str:
        body = self.body
        if body is None:
            return f"<chord without body: {self.tasks!r}>"
        if isinstance(body, _chain) and body.tasks:
            rest = " | ".join(map(repr, body.tasks[1:]))
            return shortened(body.tasks[0].task, f"%({body.tasks[0].reprcall(self.tasks)} | {rest})")
        return "%" + shortened(body.task, body.reprcall(self.tasks))


_chord = chord  # Celery's other name for it
