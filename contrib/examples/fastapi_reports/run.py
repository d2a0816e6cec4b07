"""`python run.py`: the web server and a worker."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from side_by_side import main, python  # noqa: E402 - where it is had to be said first

if __name__ == "__main__":
    main(
        HERE,
        # Streams of events last as long as their tasks: at the end they are not waited for.
        web=python("-m", "uvicorn", "reports.web:app", "--port", "{port}", "--timeout-graceful-shutdown", "1"),
        worker=python("-m", "liteq", "-A", "reports.tasks", "worker", "--concurrency", "2", "--loglevel", "INFO"),
        default_port=8000,
    )
