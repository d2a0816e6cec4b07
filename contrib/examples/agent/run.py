"""`python run.py`: a fake model, a worker, and one question after another from the terminal.

`python run.py --ask "How is my day?"` asks one question, prints the answer and the bill, and ends.
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
    parser.add_argument("--ask", help="ask this and end")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    options = parser.parse_args()

    from model import serve

    data = Path(os.environ.setdefault("AGENT_DATA", str(HERE / "data")))
    data.mkdir(parents=True, exist_ok=True)
    bill = data / "bill"
    server = serve(0, bill)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["AGENT_MODEL"] = f"http://127.0.0.1:{server.server_port}/"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    worker = subprocess.Popen(
        python("-m", "liteq", "-A", "assistant", "worker", "-c", str(options.workers)), process_group=0
    )
    try:
        for question in [options.ask] if options.ask else iter(lambda: input("> "), ""):
            _ask(question, bill)
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        worker.terminate()
        worker.wait()
        server.shutdown()


def _ask(question: str, bill: Path) -> None:
    from assistant import assistant

    run = assistant.start(question)
    for chunk in run.stream("progress"):
        print(f"  {chunk.data}", flush=True)
    print(run.result(timeout=60))
    print(f"paid so far: {len(bill.read_text().splitlines())} calls", flush=True)


if __name__ == "__main__":
    main()
