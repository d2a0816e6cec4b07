"""`python run.py`: a worker, and tonight's import now: 10,000 items, or `--items N`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from side_by_side import CHECKOUT, python  # noqa: E402 - where it is had to be said first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--limit", type=int, default=50, help="at once, over all workers (default: %(default)s)")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    worker = subprocess.Popen(python("-m", "liteq", "-A", "etl", "worker", "-c", "2", "-l", "WARNING"), process_group=0)
    try:
        from etl import nightly

        run = nightly.start(options.items, options.limit)
        print(f"{run.id}: started", flush=True)
        print(Path(run.result()).read_text(), end="", flush=True)
    except KeyboardInterrupt:
        print("the run goes on with the next worker: python run.py starts one", flush=True)
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
