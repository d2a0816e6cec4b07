"""`python run.py`: a fake model, a worker, and one question after another from the terminal.

`python run.py --ask "Refund my order"` asks one question, approves what it asks for, prints the answer, and ends.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from side_by_side import CHECKOUT, python  # noqa: E402 - where it is had to be said first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", help="ask this, approve, and end")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    options = parser.parse_args()

    from model import serve

    data = Path(os.environ.setdefault("SUPPORT_DATA", str(HERE / "data")))
    data.mkdir(parents=True, exist_ok=True)
    bill = data / "bill"
    server = serve(0, bill, delay_s=0.2)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["SUPPORT_MODEL"] = f"http://127.0.0.1:{server.server_port}/"
    sources = [str(HERE), str(CHECKOUT), str(CHECKOUT / "contrib")]
    sys.path[:0] = sources[1:]
    os.environ["PYTHONPATH"] = os.pathsep.join([*sources, os.environ.get("PYTHONPATH", "")])
    worker = subprocess.Popen(
        python("-m", "liteq", "-A", "support", "worker", "-c", str(options.workers)), process_group=0
    )
    try:
        for question in [options.ask] if options.ask else iter(lambda: input("> "), ""):
            ask(question, bill, sure=bool(options.ask))
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        worker.terminate()
        worker.wait()
        server.shutdown()


def ask(question: str, bill: Path, *, sure: bool) -> None:
    """Ask, show the words as they come, and decide what the agent asks for."""
    from support import app, support

    run = support.start(question, 42)
    decide = threading.Thread(target=decided, args=(run, sure))
    decide.start()
    for chunk in run.stream("tokens"):
        print(chunk.data, end="", flush=True)
    decide.join()
    print(f"\n{run.result(timeout=60)}")
    paid = sum(line.rstrip().endswith(question) for line in bill.read_text().splitlines())
    print(f"paid for this: {paid} requests; {app.Run(run.id).status}", flush=True)


def decided(run: object, sure: bool) -> None:
    """Decide on each approval, as long as the run lives."""
    from threading import Event

    pause = Event()
    while not run.ready():  # type: ignore[attr-defined]
        for asked in run.approvals():  # type: ignore[attr-defined]
            ok = sure or input(f"\n{asked.title}? [y/n] ").startswith("y")
            run.approve(asked.title, ok, by="you")  # type: ignore[attr-defined]
        pause.wait(0.1)


if __name__ == "__main__":
    main()
