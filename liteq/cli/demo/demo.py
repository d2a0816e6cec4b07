"""`liteq demo`: the main job on real files, with a real worker, and every answer checked against direct computation."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.exceptions import LiteqError
from liteq.states import FINISHED, State
from liteq.storage.driver import Bell

__all__ = ["demo"]

SOURCES = Path(__file__).resolve().parents[2]
MOST_FILES, LARGEST = 2_000, 16 * 1024 * 1024  # what two processes read within the promised 20 seconds
PATIENCE_S = 60.0
LOOK_S = 0.1  # between two looks at the progress, while nothing rings


class DemoFailed(LiteqError):
    """Raised when the demo's worker ended, or took too long."""


@click.command(cls=Command)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=SOURCES)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    default=2,
    show_default=True,
    help="Worker processes.",
)
@click.option("--durability", type=click.Choice(["durable", "strict", "relaxed"]), default="durable", show_default=True)
@click.option("--keep", is_flag=True, help="Keep the queue's file.")
@click.option("--dashboard", is_flag=True, help="Show the work in a browser, and go on with it until Ctrl-C.")
@pass_session
def demo(session: Session, /, folder: Path, concurrency: int, durability: str, keep: bool, dashboard: bool) -> int:
    """Run a queue with a worker on real files.

    Counts the lines and words of the files in FOLDER, by default liteq's own sources: a chord of one task a file, a
    task that fails once and is retried, one that fails for good and is requeued as a dead letter, and a chain. Each
    result is compared with the same computed directly; exits with 1 where one differs.

    \b
    JSON: {"ok", "steps": [{"name", "ok", "detail"}], "files", "tasks", "seconds", "tasks_per_s", "retries",
    "dead_letters", "requeued", "integrity", "path"}
    """
    files = _files(folder.resolve())
    if not files:
        raise click.UsageError(f"there is no file to read in {folder}")
    if dashboard and session.json:
        raise click.UsageError("--dashboard is for people: leave out --json")
    home = Path(tempfile.mkdtemp(prefix="liteq-demo-"))
    try:
        with _term_as_ctrl_c():
            if dashboard:
                return _with_dashboard(session, home, files, concurrency, durability)
            with _worker(home, concurrency, durability) as process:
                story = Demo(session, home, files, durability, process)
                if not session.json:
                    say(f"{len(files):,} files of {folder.resolve()}; {durability}; {concurrency} worker processes")
                figures = story.run()
        figures |= story.after()
        emit(session, figures, lambda: _show(figures, kept=keep))
        return Exit.OK if figures["ok"] else Exit.FAILED
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _term_as_ctrl_c() -> Iterator[None]:
    """Have TERM end the block as Ctrl-C does. Otherwise the worker and the dashboard would live on without the demo."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _with_dashboard(session: Session, home: Path, files: list[str], concurrency: int, durability: str) -> int:
    """The demo's story while the dashboard shows it; then work that goes on. Ends with Ctrl-C."""
    from liteq.cli.demo.demo_board import go_on, shown
    from liteq.cli.demo.demo_shop import QUEUES
    from liteq.cli.serving.dashboard import packages_are_there

    packages_are_there()
    with _worker(home, concurrency, durability, "liteq.cli.demo.demo_shop", "-Q", QUEUES, "-B") as process:
        story = Demo(session, home, files, durability, process)
        story.starts()
        with shown(_url(home), _environment(durability), opens=session.on_terminal):
            story.run()
            try:
                go_on(process)
            except KeyboardInterrupt:
                say("the demo has ended")
        story.app.close()
    return Exit.OK


def _files(folder: Path) -> list[str]:
    """The files to read, in order: no links, nothing hidden, nothing huge."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith(".") or path.is_symlink() or not os.access(path, os.R_OK):
                continue
            if path.is_file() and path.stat().st_size <= LARGEST:
                found.append(str(path))
            if len(found) == MOST_FILES:
                return found
    return found


@contextlib.contextmanager
def _worker(
    home: Path, concurrency: int, durability: str, app: str = "liteq.cli.demo.demo_app", *more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own, without whatever settings surround the demo; ended at the end of the block."""
    pool = "prefork" if hasattr(os, "fork") else "threads"
    options = ["-A", app, "-b", _url(home), "-c", str(concurrency), "-P", pool, "-l", "INFO", *more]
    with (home / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "liteq", "worker", *options],
            cwd=home,
            env=_environment(durability),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(durability: str) -> dict[str, str]:
    """The environment of the demo's processes: without whatever settings surround it."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("LITEQ_")}
    path = os.pathsep.join(filter(None, [str(SOURCES.parent), surroundings.get("PYTHONPATH")]))
    return {**surroundings, "PYTHONPATH": path, "LITEQ_DURABILITY": durability}


def _url(home: Path) -> str:
    return f"sqlite:///{home / 'demo.db'}"


class Demo:
    """One run: the app in this process as the producer, and what came of it."""

    def __init__(
        self, session: Session, home: Path, files: list[str], durability: str, process: subprocess.Popen[bytes]
    ) -> None:
        from liteq.cli.demo import demo_app
        from liteq.settings import Source

        self.tasks = demo_app
        self.app = demo_app.app
        settings = {"broker_url": _url(home), "durability": durability, "task_always_eager": False}
        with contextlib.chdir(home):  # settings in the files of the working directory are for other apps
            self.app.conf.apply(settings, Source.COMMAND_LINE, "the demo")
        self._session = session
        self._home = home
        self._files = files
        self._process = process
        self._steps: list[dict[str, Any]] = []
        self._figures: dict[str, Any] = {}

    def starts(self) -> None:
        """Wait for the worker, which makes the file."""
        self._until(self.app.storage.reader.workers, "the worker to start")

    def run(self) -> dict[str, Any]:
        """Send everything, wait for it, and compare; the figures."""
        self.starts()
        began = time.perf_counter()
        chord, flaky, chain, (dead, after) = self._send()
        self._watch(chord.ready)
        self._figures["seconds"] = round(time.perf_counter() - began, 3)
        self._step(
            "chord", self._report(), chord.get(timeout=PATIENCE_S), "one task a file, their results in one report"
        )
        self._step("retry", 2, flaky.get(timeout=PATIENCE_S), "failed once, succeeded on its second attempt")
        self._step("chain", 40, chain.get(timeout=PATIENCE_S), "5, doubled three times")
        self._requeue(dead, after)
        retries = sum(
            record.retries for record in self.app.storage.reader.messages(State.SUCCEEDED, limit=MOST_FILES * 2)
        )
        return self._figures | {"retries": retries}

    def after(self) -> dict[str, Any]:
        """The checks that are made once the worker has ended: the file is whole, and nothing in it is left undone."""
        storage = self.app.storage
        storage.close()
        integrity = storage.driver.describe()["integrity"]
        counts = storage.reader.counts()
        undone = sum(count.n for count in counts if count.state not in FINISHED)
        done = sum(count.n for count in counts if count.state == State.SUCCEEDED)
        self.app.close()
        self._step(
            "file", ("ok", 0, len(self._files) + 7), (integrity, undone, done), "whole, everything in it done once"
        )
        seconds = self._figures["seconds"]
        return {
            "ok": all(step["ok"] for step in self._steps),
            "steps": self._steps,
            "files": len(self._files),
            "tasks": done,
            "tasks_per_s": round((len(self._files) + 1) / seconds),
            "integrity": integrity,
            "path": str(self._home / "demo.db"),
        }

    # -- the parts ---------------------------------------------------------------------------------------------------

    def _send(self) -> tuple[Any, Any, Any, tuple[Any, Any]]:
        from liteq import chain, chord

        t = self.tasks
        dead = chain(t.first_line.s(str(self._late)), t.first_line.s()).apply_async()
        flaky = t.flaky.delay()
        doubled = chain(t.double.s(5), t.double.s(), t.double.s()).apply_async()
        report = chord([t.digest.s(path) for path in self._files], t.report.s()).apply_async()
        return report, flaky, doubled, (dead.parent, dead)

    @property
    def _late(self) -> Path:
        return self._home / "late.txt"

    def _report(self) -> dict[str, Any]:
        """The chord's result, computed directly."""
        return self.tasks.report([self.tasks.count(path) for path in self._files])

    def _requeue(self, dead: Any, after: Any) -> None:
        """The first of two linked tasks misses a file: a dead letter, until the file is there and it is requeued."""
        storage = self.app.storage
        self._until(after.ready, "the task that fails for good")
        letters = storage.dead.matching()
        self._step("dead letter", [dead.id], letters, "a file was missing: kept, with what waits for it")
        other = self._home / "other.txt"
        self._late.write_text(f"{other}\n", encoding="utf-8")
        other.write_text("found\n", encoding="utf-8")
        requeued = storage.dead.requeue(letters)
        again = self.app.AsyncResult(after.id)
        self._until(again.ready, "the requeued task")
        self._step("requeue", "found", again.get(timeout=PATIENCE_S, propagate=False), "it and its chain went on")
        self._figures |= {"dead_letters": len(letters), "requeued": len(requeued)}

    def _step(self, name: str, expected: object, found: object, detail: str) -> None:
        ok = expected == found
        if not ok:
            detail = f"expected {expected!r:.200}, found {found!r:.200}"
        self._steps.append({"name": name, "ok": ok, "detail": detail})
        if not self._session.json:
            say(f"  {'ok' if ok else 'WRONG':<6} {name:<12} {detail}")

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _watch(self, ready: Callable[[], bool]) -> None:
        """Wait for the chord, with a bar on a terminal."""
        if self._session.json or not self._session.on_terminal:
            self._until(ready, "the chord")
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(no_color=self._session.no_color or None), transient=True) as progress:
            bar = progress.add_task("files", total=len(self._files))

            def look() -> bool:
                done = sum(count.n for count in self.app.storage.reader.counts() if count.state == State.SUCCEEDED)
                progress.update(bar, completed=min(done, len(self._files)))
                return ready()

            self._until(look, "the chord")

    def _until(self, fact: Callable[[], object], what: str) -> None:
        """Wait for `fact`, looking whenever something finished. Raises DemoFailed when the worker is gone or slow."""
        give_up = time.monotonic() + PATIENCE_S
        bell = self.app.storage.listen(Bell.DONE)
        try:
            while not fact():
                if self._process.poll() is not None:
                    raise DemoFailed(f"the worker ended with {self._process.returncode}: {self._last_words()}")
                if time.monotonic() > give_up:
                    raise DemoFailed(f"waited {PATIENCE_S:g} s for {what}: {self._last_words()}")
                bell.wait(LOOK_S)
        finally:
            bell.close()

    def _last_words(self) -> str:
        lines = (self._home / "worker.log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "its log is empty")


def _show(figures: dict[str, Any], *, kept: bool) -> None:
    say(
        f"{figures['tasks']:,} tasks; the chord in {figures['seconds']:.2f} s, {figures['tasks_per_s']:,} tasks/s; "
        f"{figures['retries']} retries; {figures['dead_letters']} dead letter, {figures['requeued']} requeued; "
        f"integrity {figures['integrity']}"
    )
    say(f"the queue: {figures['path']}" + ("" if kept else " (deleted; --keep keeps it)"))
    if not figures["ok"]:
        click.echo("liteq: error: a result is not what it has to be", err=True)
