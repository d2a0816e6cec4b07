"""`liteq metrics`: the metrics of the file for Prometheus, on a port, in a file, or on stdout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.listening import LOOPBACK, not_listened
from liteq.cli.parts.many import db_option, of_file, sessions
from liteq.cli.parts.output import emit
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import span_option
from liteq.cli.parts.voice import VOICE
from liteq.cli.processes.beat import stopped_by_signals
from liteq.exceptions import ImproperlyConfigured, StorageError

if TYPE_CHECKING:
    from liteq.metrics.collector import FilesCollector, QueueCollector

__all__ = ["metrics"]


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65_535), help="Serve them on this port; 0: a free one.")
@click.option(
    "--host", default=LOOPBACK, show_default=True, metavar="ADDRESS",
    help="The address to serve on. Anybody who reaches it may read: 0.0.0.0 is for a network of your own.",
)  # fmt: skip
@click.option(
    "--textfile", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write them to FILE, which is replaced as a whole: for node_exporter, or where no port may be opened.",
)  # fmt: skip
@click.option("--every", metavar="SPAN", callback=span_option, help="With --textfile: write again each 30s, 1m, ...")
@click.option("--names", multiple=True, metavar="NAMES", help="Add the names of other exporters: celery, flower.")
@click.option("--per-worker", is_flag=True, help="Label workers by their whole names, with the machine's or pod's.")
@db_option("Those of")
@pass_session
def metrics(
    session: Session, /, port: int | None, host: str, textfile: Path | None, every: float | None,
    names: tuple[str, ...], per_worker: bool, db: tuple[str, ...],
) -> int:  # fmt: skip
    """Serve metrics to Prometheus. Without --port and --textfile, write them to stdout once.

    Metrics are read from the file at each scrape, so one such process serves those of all workers and queues, and
    counters go on after restarts. Needs the extra `metrics`.

    With --db each sample has the file's path as its label `db`, and `liteq_file_readable` is 0 for one that could not
    be read. Written to stdout, it exits with 1 where there is such a file.

    \b
    JSON: [{"name", "kind", "help", "samples": [{"name", "labels", "value"}]}]; with --port {"url"}, with --textfile
    {"textfile"}
    """
    from liteq.metrics import make_collector

    if port is not None and textfile is not None:
        raise click.UsageError("choose --port or --textfile")
    if every is not None and textfile is None:
        raise click.UsageError("--every is for --textfile: a port is read when somebody scrapes it")
    made: QueueCollector | FilesCollector
    if db:
        made = _of_files(session, db, names, per_worker=per_worker)
    else:
        made = make_collector(session.app, names, per_worker=per_worker)
        _ = session.storage  # refuses a file that is not there
    if port is not None:
        _serve(session, made, host, port)
    elif textfile is not None:
        _write(made, textfile, every)
        emit(session, {"textfile": str(textfile)}, lambda: None)
    else:
        return _say(session, made)
    return Exit.OK


def _of_files(session: Session, db: tuple[str, ...], names: tuple[str, ...], *, per_worker: bool) -> FilesCollector:
    from liteq.metrics import make_collector
    from liteq.metrics.collector import FilesCollector

    limits: dict[str, int] = {}  # of the collectors, which are made anew at each scrape

    def files() -> Iterator[tuple[str, QueueCollector]]:
        for one in sessions(session, db):
            made = make_collector(one.app, names, per_worker=per_worker)
            made.limit = limits.get(one.path, made.limit)
            try:
                yield one.path, made
            finally:
                limits[one.path] = made.limit
                one.app.close()

    sessions(session, db)  # refuses what names no file
    return FilesCollector(files)


def _say(session: Session, made: QueueCollector | FilesCollector) -> int:
    """Write the metrics to stdout, and on stderr of which files there are none."""
    from prometheus_client import CollectorRegistry, Metric, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(made)

    def document(one: Metric) -> dict[str, Any]:
        samples = [{"name": of.name, "labels": of.labels, "value": of.value} for of in one.samples]
        return {"name": one.name, "kind": one.type, "help": one.documentation, "samples": samples}

    found = [document(one) for one in registry.collect()] if session.json else []
    emit(session, found, lambda: click.echo(generate_latest(registry), nl=False))
    errors: dict[str, Exception] = getattr(made, "errors", {})
    for path, exc in errors.items():
        VOICE.say("error", of_file(path, " ".join(str(exc).split())))
    return Exit.FAILED if errors else Exit.OK


def _serve(session: Session, made: QueueCollector | FilesCollector, host: str, port: int) -> None:
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry(auto_describe=False)
    registry.register(made)
    stop = stopped_by_signals()
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as exc:
        raise not_listened(host, port, exc) from None
    server.set_app(_refusing(server.get_app()))
    shown = f"[{host}]" if ":" in host else host
    at = f"http://{shown}:{server.server_port}/metrics"
    emit(session, {"url": at}, lambda: session.note(f"metrics are at {at}"))
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()


def _refusing(metrics: Any) -> Callable[[Any, Any], Iterable[bytes]]:
    """The WSGI app `metrics`; where the queue cannot be read, the answer is one line that says why."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        try:
            return cast("Iterable[bytes]", metrics(environ, start_response))
        except StorageError as exc:  # it reads before it begins to answer
            VOICE.say("warning", f"the metrics cannot be read now: {exc}")
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{exc}\n".encode()]

    return app


def _write(made: QueueCollector | FilesCollector, textfile: Path, every_s: float | None) -> None:
    """Write the file, which a reader finds whole at any time; again each `every_s` seconds."""
    from prometheus_client import CollectorRegistry, write_to_textfile

    registry = CollectorRegistry(auto_describe=False)
    registry.register(made)
    if every_s is None:
        try:
            write_to_textfile(str(textfile), registry)
        except OSError as exc:
            raise ImproperlyConfigured(f"--textfile {textfile} cannot be written: {exc.strerror or exc}") from None
        return
    stop = stopped_by_signals()
    due_at = time.monotonic()
    while not stop.wait(max(0.0, due_at - time.monotonic())):
        due_at = time.monotonic() + every_s
        try:
            write_to_textfile(str(textfile), registry)
        except (StorageError, OSError) as exc:
            VOICE.say("warning", f"{textfile} was not written, trying again: {exc}")
