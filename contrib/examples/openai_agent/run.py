"""`python run.py`: a fake model, a worker, and one question after another; you are asked before anything is paid back.

`python run.py --ask "Where is my order?" --yes` asks one question, agrees to what is asked, and ends.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from side_by_side import CHECKOUT, python  # noqa: E402 - where it is had to be said first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", help="ask this and end")
    parser.add_argument("--yes", action="store_true", help="agree to every payment")
    options = parser.parse_args()

    data = Path(os.environ.setdefault("HELPER_DATA", str(HERE / "data")))
    data.mkdir(parents=True, exist_ok=True)
    server = None
    if "OPENAI_API_KEY" not in os.environ:
        from model import serve

        server = serve(0, data / "bill")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{server.server_port}/v1"
        os.environ["OPENAI_API_KEY"] = "none"
    paths = [str(HERE), str(CHECKOUT), str(CHECKOUT / "contrib"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    worker = subprocess.Popen(python("-m", "liteq", "-A", "helper", "worker", "-c", "1"), process_group=0)
    try:
        for question in [options.ask] if options.ask else iter(lambda: input("> "), ""):
            _ask(question, yes=options.yes)
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        worker.terminate()
        worker.wait()
        if server is not None:
            server.shutdown()


def _ask(question: str, *, yes: bool) -> None:
    from helper import help_with

    run = help_with.start(question)
    while run.status not in {"succeeded", "failed", "cancelled"}:
        for asked in run.approvals():
            print(f"  {asked.title}", flush=True)
            ok = yes or input("  agreed? [y/N] ").lower().startswith("y")
            run.approve(asked.title, ok=ok, by="you")
        time.sleep(0.1)
    print(run.result(timeout=60), flush=True)


if __name__ == "__main__":
    main()
