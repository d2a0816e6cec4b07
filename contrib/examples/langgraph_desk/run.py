"""`python run.py`: a fake model, a worker, and a question from the terminal, whose answer you approve.

`python run.py --ask "Where is my parcel?" --yes` asks one question, approves, prints the notes and the bill, and ends.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from side_by_side import CHECKOUT, python  # noqa: E402 - where it is had to be said first

PATIENCE_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", help="ask this and end")
    parser.add_argument("--yes", action="store_true", help="approve the answer")
    options = parser.parse_args()

    from model import serve

    data = Path(os.environ.setdefault("DESK_DATA", str(HERE / "data")))
    data.mkdir(parents=True, exist_ok=True)
    bill = data / "bill"
    server = serve(bill)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["DESK_MODEL"] = f"http://127.0.0.1:{server.server_port}/"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    worker = subprocess.Popen(
        python("-m", "liteq", "-A", "desk", "worker", "-c", "2", "-Q", "celery,checks"), process_group=0
    )
    try:
        for question in [options.ask] if options.ask else iter(lambda: input("question> "), ""):
            _ask(question, bill, yes=options.yes)
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        worker.terminate()
        worker.wait()
        server.shutdown()


def _ask(question: str, bill: Path, *, yes: bool) -> None:
    from desk import desk

    run = desk.start(question)
    asked = _approval(run)
    print(f"draft: {asked.details['draft']}", flush=True)
    ok = yes or input("send it? [y/n] ") == "y"
    run.approve(asked.title, ok=ok, by="you")
    print(*run.result(timeout=PATIENCE_S), sep="\n")
    print(f"paid so far: {len(bill.read_text().splitlines())} calls", flush=True)


def _approval(run: Any) -> Any:
    give_up = time.monotonic() + PATIENCE_S
    while not (asked := run.approvals()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"nobody was asked within {PATIENCE_S} s")
        time.sleep(0.05)
    return asked[0]


if __name__ == "__main__":
    main()
