"""A canvas compiled to the rows that are sent: pure, and as many rows as there are tasks.

One rule carries every shape: a row awaits one id, a message's or a group's.

    a | b             b awaits a
    group(a, b)       a and b are counted by a group
    chord([a, b], c)  c awaits the group
    x | group(a, b)   a and b await x
    group | group     each member of the second awaits the first, as a group
    a.link(b)         b awaits a
    a.link_error(b)   b awaits a, as an errback (Flag.ON_FAILURE)

A task that awaits something also takes its result as its first argument, unless it is immutable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from liteq.canvas import (
    LazyTasks,
    Node,
    Signature,
    _chain,
    chord,
    chunks,
    group,
    is_void,
    maybe_signature,
    merged_options,
)
from liteq.message import DEPTH_SHIFT, Batch, Flag, Group, new_id
from liteq.sending.options import STRUCTURAL
from liteq.sending.places import NOTHING, TAKES_INPUT, End, Place, RowMaker, Stream, closing, joined
from liteq.utils.names import checked_id
from liteq.utils.records import NamedTuple

__all__ = ["Compiled", "compile_behind", "compile_many", "compile_signature"]

LINKED, ON_FAILURE, CALLBACK = Flag.LINKED, Flag.ON_FAILURE, Flag.CALLBACK
MAX_NESTING = 100

# A chord's options that are not its body's, and not its header's.
HEADER_ONLY = frozenset({"countdown", "eta", "parent_id"})
BODY_ONLY = frozenset({"task_id", "link", "link_error"})


class Compiled(NamedTuple):
    """The rows of a canvas, and the node whose result is the canvas's.

    An empty canvas, `group([])`, has no rows and the node of an empty group: nothing may await it.
    """

    batch: Batch
    node: Node
    chosen: Collection[str] = ()
    """The ids in it that were not made now: given, or frozen before."""


def compile_signature(
    sig: Any,
    maker: RowMaker,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    root_id: str | None = None,
    parent_id: str | None = None,
    group_id: str | None = None,
    position: int = 0,
    linked: bool = False,
    depth: int = 0,
    stream: Stream | None = None,
) -> Compiled:
    """The rows of `sig`, called with `args` before its own, `kwargs` and `options` over its own.

    `root_id`, `parent_id`: of the running task that sends it. `group_id`, `position`: the group that is to count its
    result. `linked`: rows outside the batch will await its result (those of a task that it replaces). `depth`: in how
    many groups it will stand. `stream`: takes the first rows of a group of a generator away, so that the rest of them
    alone is returned. `sig` is not changed; ids that it was frozen with are used. Raises TypeError for a part that is
    no signature, ValueError for an id used twice or nesting over 100 levels, and the errors of `maker`.
    """
    rows = _Rows(maker, stream)
    place = Place(
        args=tuple(args),
        kwargs=kwargs or NOTHING,
        root_id=root_id,
        parent_id=parent_id,
        group_id=group_id,
        position=position,
        linked=linked,
        depth=depth,
    )
    node = rows.add(sig, place, options or NOTHING)
    return Compiled(rows.batch, node, rows.taken)


def compile_many(
    sigs: Iterable[Any], maker: RowMaker, *, root_id: str | None = None, parent_id: str | None = None
) -> tuple[Batch, list[Node]]:
    """The rows of all `sigs` in one batch, and the node of each, in their order."""
    rows = _Rows(maker)
    place = Place(root_id=root_id, parent_id=parent_id)
    return rows.batch, [rows.add(sig, place, NOTHING) for sig in sigs]


def compile_behind(
    id_: str, maker: RowMaker, links: Sequence[Any], errbacks: Sequence[Any], rest: Any = None, *,
    root_id: str | None = None,
) -> Compiled:  # fmt: skip
    """The rows that come after the message `id_`, which was sent before: its callbacks, its errbacks, and `rest`.

    `rest`: the signature that goes on with its result; None for none. Raises as `compile_signature`.
    """
    rows = _Rows(maker)
    end = End(Node(id_), id_, root_id or id_)
    rows.taken.add(id_)
    rows._callbacks(end, links, errbacks)
    node = end.node if rest is None else rows.add(rest, Place().after(end), NOTHING)
    return Compiled(rows.batch, node, rows.taken)


class _Rows:
    """The batch in the making."""

    def __init__(self, maker: RowMaker, stream: Stream | None = None) -> None:
        self.maker = maker
        self.stream = stream
        self.batch = Batch()
        self.taken: set[str] = set()
        self._depth = 0

    def add(self, sig: Any, place: Place, over: Mapping[str, Any]) -> Node:
        """Add the rows of a whole canvas; its node."""
        sig = _signature(sig).expanded()
        if is_void(sig):
            return Node(over.get("task_id") or sig.id or new_id(), "group")
        node = self._put(sig, place, over).node
        if node.kind == "group" and isinstance(sig, group) and [child.kind for child in node.children] == ["group"]:
            return node.children[0]  # group(x | group(a, b)): as in Celery, the result is the inner group's
        return node

    def _put(self, sig: Signature, place: Place, over: Mapping[str, Any]) -> End:
        if type(sig) is Signature:
            return self._task(sig, place, over)
        if self._depth >= MAX_NESTING:
            raise ValueError(f"this canvas is nested deeper than {MAX_NESTING} levels; join its parts with `|` instead")
        self._depth += 1
        try:
            match sig:
                case _chain():
                    return self._chain(sig, place, merged_options(sig.options, over))
                case group():
                    return self._group(sig, place, merged_options(sig.options, over))
                case chord():
                    return self._chord(sig, place, merged_options(sig.options, over))
                case chunks():
                    return self._put(sig.group(), place.without_input(), over)
                case _:
                    return self._task(sig, place, over)
        finally:
            self._depth -= 1

    # -- one task ----------------------------------------------------------------------------------------------------

    def _task(self, sig: Signature, place: Place, over: Mapping[str, Any]) -> End:
        options: Mapping[str, Any] = merged_options(sig.options, over) if over else sig.options
        if self.maker.overrides(sig.task):
            args, kwargs = sig.merge(place.args, place.kwargs)
            sig = self.maker.overridden(_with(sig, args=args, kwargs=kwargs, options=options))
            options, place = sig.options, place._replace(args=(), kwargs=NOTHING)
        links: Sequence[Any] = place.links
        errbacks: Sequence[Any] = place.errbacks
        root_id, parent_id = place.root_id, place.parent_id
        if options:
            message_id = self._claim(options.get("task_id"), place)
            links = joined(options.get("link"), links)
            errbacks = joined(options.get("link_error"), errbacks)
            root_id = options.get("root_id") or root_id
            parent_id = options.get("parent_id") or parent_id
            options = _plain(options)
        else:
            message_id = new_id()
        flags = place.flags & ~TAKES_INPUT if sig.immutable else place.flags
        if options or sig.options or place.args or place.kwargs:
            args, kwargs = sig.merge(place.args, place.kwargs)
            sig = _with(sig, args=args, kwargs=kwargs, options=options)
        if place.linked or links or errbacks:
            flags |= LINKED
        flags |= place.depth << DEPTH_SHIFT
        self.batch.messages.append(
            self.maker.row(
                sig,
                message_id=message_id,
                awaits=place.awaits,
                group_id=place.group_id,
                position=place.position,
                flags=flags,
                root_id=root_id,
                parent_id=parent_id,
            )
        )
        end = End(Node(message_id), message_id, root_id or message_id)
        if links or errbacks:
            self._callbacks(end, links, errbacks)
        return end

    def _callbacks(self, end: End, links: Sequence[Any], errbacks: Sequence[Any]) -> None:
        """The rows that await `end` beside the canvas: nothing awaits them."""
        place = Place(spread=True).after(end)._replace(flags=TAKES_INPUT | CALLBACK)
        for callback in links:
            self._callback(callback, place)
        for errback in errbacks:
            self._callback(errback, place._replace(flags=TAKES_INPUT | CALLBACK | ON_FAILURE))

    def _callback(self, sig: Any, place: Place) -> None:
        sig = _signature(sig).expanded()
        if not is_void(sig):
            self._put(sig, place, NOTHING)

    def _claim(self, wanted: str | None, place: Place) -> str:
        """`wanted`, or a new id where there is none. Raises ValueError where two parts have the same."""
        if wanted is None:
            return new_id()
        wanted = checked_id(wanted)
        if wanted not in self.taken:
            self.taken.add(wanted)
            return wanted
        if place.spread:
            return new_id()
        raise ValueError(f"two parts of this canvas have the id {wanted}: clone() a signature before it is used again")

    # -- several in one ------------------------------------------------------------------------------------------------

    def _chain(self, sig: _chain, place: Place, options: dict[str, Any]) -> End:
        """The options are those of the first step; its links, and an id given, go to the last, its errbacks to each."""
        place = closing(place, options)
        last_over = {"task_id": options.pop("task_id")} if "task_id" in options else NOTHING
        if sig.immutable:
            place = place.without_input()
        elif sig.args:
            place = place._replace(args=(*place.args, *sig.args))
        steps = sig.steps()
        last = len(steps) - 1
        end: End | None = None
        for i, step in enumerate(steps):
            over: Mapping[str, Any] = options if i == 0 else NOTHING
            if i == last and last_over and not step.id:
                over = {**over, **last_over}
            here = place if i == last else place.inner()
            before, end = end, self._put(step, here if end is None else here.after(end), over)
            end.node.follow(before.node if before is not None else None)
        assert end is not None, "void chains are left out before"
        return end

    def _group(self, sig: group, place: Place, options: dict[str, Any]) -> End:
        """The options are those of each member, over its own, and so are its links and errbacks."""
        group_id = self._claim(options.pop("task_id", None), place)
        place = closing(place, options)
        root_id = place.root_id
        inner = place._replace(
            args=(*place.args, *sig.args),
            group_id=group_id,
            linked=True,
            depth=place.depth + 1,
        )
        stream = self._stream_of(sig, place)
        children: list[Node] = []
        end: End | None = None
        for position, (member, over) in enumerate(sig.members(options)):
            end = self._put(member, inner._replace(position=position), over)
            children.append(end.node)
            if stream is not None:
                stream.offer(self.batch, Group(group_id, len(children), root_id=root_id), self.taken)
        assert end is not None, "void groups are left out before"
        if stream is None or not stream.has_sent(group_id):
            self.batch.groups.append(Group(group_id, len(children), place.group_id, place.position, root_id))
        return End(Node(group_id, "group", children), end.last_id, end.root_id)

    def _stream_of(self, sig: group, place: Place) -> Stream | None:
        """Where the members of `sig` may go before all of them are there: nothing before it, nothing around it."""
        lazy = isinstance(sig.tasks, LazyTasks) and not sig.tasks.is_whole
        return self.stream if lazy and place.awaits is None and place.group_id is None else None

    def _chord(self, sig: chord, place: Place, options: dict[str, Any]) -> End:
        """Countdown and eta are the header's; an id, links and errbacks the body's; other options those of both."""
        if sig.body is None:
            raise TypeError("this chord has no body: chord(header, body), or chord(header)(body)")
        header = sig.header_group()
        header_options = {key: value for key, value in options.items() if key not in BODY_ONLY}
        body_options = {key: value for key, value in options.items() if key not in HEADER_ONLY}
        body_place = closing(place, body_options)
        if is_void(sig.body):
            return self._put(header, place, header_options)
        if isinstance(sig.body, group) and body_place.links:
            # As chord.link() does it: once, and not for each task of the body.
            sig = sig.clone()
            for callback in body_place.links:
                sig.body.link(callback)
            body_place = body_place._replace(links=())
        if sig.body.id:
            body_options.pop("task_id", None)
        if is_void(header):
            # Nothing to wait for but what comes before; the list of no results is the body's input.
            body_place = body_place._replace(args=([],), kwargs=NOTHING, flags=place.flags & ~TAKES_INPUT)
            return self._with_parent(self._put(sig.body, body_place, body_options), Node(new_id(), "group"))
        before = place.inner()._replace(
            args=(*place.args, *sig.args),
            kwargs={**sig.kwargs["kwargs"], **place.kwargs},
            errbacks=body_place.errbacks if self.maker.header_errbacks else (),
        )
        end = self._put(header, before, header_options)
        return self._with_parent(self._put(sig.body, body_place.after(end), body_options), end.node)

    @staticmethod
    def _with_parent(end: End, parent: Node) -> End:
        end.node.follow(parent)
        return end


def _signature(sig: Any) -> Signature:
    made: Signature | None = maybe_signature(sig)
    if made is None:
        raise TypeError("a canvas takes signatures, not None")
    return made


def _with(sig: Signature, **changed: Any) -> Signature:
    """A shallow copy of `sig` with other values for some of its keys: for the row maker, not for keeping."""
    copy = Signature.__new__(type(sig))
    dict.update(copy, sig, **changed)
    copy._app, copy._type = sig._app, sig._type
    return copy


def _plain(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """`options` without what the rows say; stamps are gathered under `stamps`."""
    plain = {key: value for key, value in options.items() if key not in STRUCTURAL}
    names = plain.get("stamped_headers")
    if names:
        plain["stamps"] = {name: plain[name] for name in names if name in plain}
    return plain
