"""The screen of `liteq top`: tables that are read once a second in a thread, and keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic, strftime, thread_time
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.widgets import Static
from textual.worker import Worker as TextualWorker
from textual.worker import WorkerState

from liteq.cli.top import details
from liteq.cli.top.asking import Line, Page
from liteq.cli.top.grid import Grid
from liteq.cli.top.hands import HANDS, acting
from liteq.cli.top.reading import read
from liteq.cli.top.tables import VIEWS, head
from liteq.context import App as QueueApp
from liteq.exceptions import LiteqError

__all__ = ["TopApp"]

LOOK_S = 1.0
SHARE = 0.02  # of a core, for reading
WIDE, HIGH = 130, 24  # from this size on several tables are shown
BESIDE = ("2", "3")  # at the right of the first
VIEWS_SHOWN = "1 queues 2 running 3 failures 4 workers 5 workflows 6 schedules 8 limits"
KEYS, ACTS = "  / search  w why  space", "  P pause R requeue X revoke"
HELP = """\
1 ... 8    queues, running, failures, workers, workflows, schedules, the last search, limits
/          search tasks: state:dead queue:mail task:shop.* error:OSError args.0:7 since:1h ...
enter      open the row: all that is known of it
w          why does this task wait, or why did it fail
space      tick the row, for an act on several
f          freeze, and go on
tab        the next table, where several are shown
q          leave
"""
HELP_ACTS = """
P          pause the queue, or the limit for ten minutes; or let it go on
R          requeue: dead tasks, or all of a cause of failure
X          revoke what waits; end what runs

Each of these asks for a reason first. Enter does it, Escape does not. What was done is noted with your name.
"""


class TopApp(App[None]):
    """The terminal's face of one queue. `read_only`: no key acts."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "liteq top"
    CSS = """
    Screen { layout: vertical; }
    #head, #verdict, #foot { height: 1; width: 100%; text-wrap: nowrap; text-overflow: ellipsis; }
    #head { text-style: bold; }
    #foot { color: $text-muted; }
    #tables { height: 1fr; }
    #beside { width: 1fr; display: none; }
    Grid { height: 1fr; width: 1fr; scrollbar-size: 0 1; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"view('{key}')", view.name, show=False) for key, view in VIEWS.items()),
        Binding("slash", "search", "search", show=False),
        Binding("enter", "open", "open", show=False, priority=True),
        Binding("w", "why", "why", show=False),
        Binding("space", "tick", "tick", show=False),
        Binding("f", "freeze", "freeze", show=False),
        Binding("question_mark", "help", "help", show=False),
        Binding("q", "quit", "quit", show=False),
    ]

    def __init__(self, queue: QueueApp, *, read_only: bool = False, look_s: float = LOOK_S) -> None:
        super().__init__()
        self._queue = queue
        self._read_only = read_only
        self._look_s = look_s
        self._view = "1"
        self._query = ""
        self._frozen = False
        self._is_wide = False
        self._rest_until = 0.0
        self._reading = False
        self._history: deque[float] = deque(maxlen=10)
        self._grids = {key: Grid(view) for key, view in VIEWS.items()}
        self.documents: dict[str, Any] | None = None
        self.looks = 0
        if not read_only:
            for key in HANDS:
                self.bind(key, f"act('{key}')", show=False)

    # -- what is there -----------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="verdict")
        with Horizontal(id="tables"):
            yield from (grid for key, grid in self._grids.items() if key not in BESIDE)
            with Vertical(id="beside"):
                yield from (self._grids[key] for key in BESIDE)
        yield Static(id="foot")

    def on_mount(self) -> None:
        self._is_wide = self.size.width >= WIDE and self.size.height >= HIGH
        self._arrange()
        self.set_interval(self._look_s, self._tick)
        self.look()

    def on_resize(self, event: Resize) -> None:
        self._is_wide = event.size.width >= WIDE and event.size.height >= HIGH
        self._arrange()
        self.look()

    @property
    def shown(self) -> tuple[str, ...]:
        """The keys of the tables that are on the screen."""
        if not self._is_wide:
            return (self._view,)
        return ("1" if self._view in BESIDE else self._view, *BESIDE)

    def _arrange(self) -> None:
        shown = self.shown
        for key, grid in self._grids.items():
            grid.display = key in shown
        self.query_one("#beside").display = any(key in BESIDE for key in shown)
        self._grids[self._view].focus()
        keys = KEYS if self._is_wide else ""  # eighty columns hold the tables' names
        acts = ACTS if self._is_wide and not self._read_only else ""
        self._say("foot", f"{VIEWS_SHOWN}{keys}{acts} ? q")

    # -- looking -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look, unless that would take more than its share of the processor: a file of millions is dear to read."""
        if monotonic() >= self._rest_until:
            self.look()

    def _read(self, views: tuple[str, ...]) -> dict[str, Any]:
        since, before = monotonic(), thread_time()
        documents = read(self._queue, views, self._query)
        self._rest_until = since + (thread_time() - before) / SHARE
        return documents

    def look(self) -> None:
        """Read the file in a thread, unless the last reading is still busy; a frozen screen is left as it is."""
        if self._reading or self._frozen:
            return
        self._reading = True
        views = tuple(VIEWS[key].name for key in self.shown)
        self.run_worker(partial(self._read, views), thread=True, exit_on_error=False, group="look")

    def on_worker_state_changed(self, event: TextualWorker.StateChanged) -> None:
        """Show what a thread has read or done, or say why it could not."""
        worker = event.worker
        if event.state not in {WorkerState.SUCCESS, WorkerState.ERROR}:
            return
        if worker.group == "act":
            refused = event.state is WorkerState.ERROR
            self.notify(f"refused: {worker.error}" if refused else str(worker.result), markup=False)
            self.look()
        if worker.group != "look":
            return
        self._reading = False
        if event.state is WorkerState.ERROR:
            self._say("verdict", f"cannot be read, trying again: {worker.error}")
        elif worker.result is not None:
            self.show(worker.result)
        self.looks += 1

    def show(self, documents: dict[str, Any]) -> None:
        """Put documents on the screen."""
        self.documents = documents
        overview = documents["overview"]
        done = (overview.get("rates") or {}).get("done_s")
        if done is not None:
            self._history.append(done)
        mood = f"{strftime('%H:%M:%S')} {'frozen' if self._frozen else 'live'}"
        with self.batch_update():
            self._say("head", head(documents, self._history, mood, wide=self._is_wide))
            self._say("verdict", str(overview["verdict"]))
            self._show_tables(documents)

    def _show_tables(self, documents: dict[str, Any]) -> None:
        for key in self.shown:
            grid = self._grids[key]
            try:
                lines = grid.view.lines(documents)
            except KeyError:  # the view was changed while the last reading was busy
                continue
            grid.show(lines)

    def _say(self, place: str, words: str) -> None:
        self.query_one(f"#{place}", Static).update(Text(" ".join(words.split("\n")), no_wrap=True))

    # -- keys --------------------------------------------------------------------------------------------------------

    @property
    def grid(self) -> Grid:
        """The table that has the keys."""
        focused = self.focused
        return focused if isinstance(focused, Grid) else self._grids[self._view]

    def action_view(self, key: str) -> None:
        """Show another table."""
        self._view = key
        self._arrange()
        self.look()

    def action_freeze(self) -> None:
        """Leave the screen as it is, or go on."""
        self._frozen = not self._frozen
        if self.documents is not None:
            self.show(self.documents)
        self.look()

    def action_tick(self) -> None:
        """Tick the row under the cursor."""
        self.grid.tick()

    def action_help(self) -> None:
        """List the keys."""
        self.push_screen(Page("keys", HELP + ("" if self._read_only else HELP_ACTS)))

    def action_search(self) -> None:
        """Ask for a search, and show what it finds."""
        self.push_screen(Line("search", self._query, "state:dead queue:mail task:shop.*"), self._search)

    def _search(self, query: str | None) -> None:
        if query is not None:
            self._query = query
            self.action_view("7")

    async def action_open(self) -> None:
        """Show all that is known of the row under the cursor; in a window, close it."""
        if isinstance(self.screen, Page):
            self.screen.dismiss()
        elif isinstance(self.focused, Grid):
            self._tell(details.opened)
        elif self.focused is not None and hasattr(self.focused, "action_submit"):
            await self.focused.action_submit()

    def action_why(self) -> None:
        """Say why the task under the cursor waits, or why it failed."""
        if self.grid.view.kind in {"task", "workflow"}:
            self._tell(details.why)

    def _tell(self, reader: Callable[[QueueApp, str, str, dict[str, Any]], str]) -> None:
        grid = self.grid
        key = grid.under_cursor
        if key is None or self.documents is None:
            return
        try:
            words = reader(self._queue, grid.view.kind, key, self.documents)
        except LiteqError as exc:
            words = str(exc)
        self.push_screen(Page(f"{grid.view.kind} {key}", words))

    def action_act(self, key: str) -> None:
        """Ask for a reason, and act on the ticked rows."""
        hand, grid = HANDS[key], self.grid
        chosen = grid.chosen
        if grid.view.kind not in hand.kinds or not chosen:
            self._say("verdict", f"{key} is for {', '.join(f'{kind}s' for kind in hand.kinds)}")
            return
        what = f"{grid.view.kind} {chosen[0]}" if len(chosen) == 1 else f"{len(chosen)} {grid.view.kind}s"
        question = f"{hand.verb} {what}? Enter does it, Escape does not."
        self.push_screen(Line(question, placeholder="reason"), partial(self._act, key, grid, chosen))

    def _act(self, key: str, grid: Grid, chosen: list[str], reason: str | None) -> None:
        if reason is None:
            return
        grid.ticked.clear()
        do = partial(HANDS[key].do, self._queue, grid.view.kind, chosen, acting(reason))
        self.run_worker(do, thread=True, exit_on_error=False, group="act")  # it may wait for the write lock
