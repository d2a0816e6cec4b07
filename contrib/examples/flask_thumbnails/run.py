"""`python run.py`: the web server and a worker."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from side_by_side import main, python  # noqa: E402 - where it is had to be said first

if __name__ == "__main__":
    flask = python("-m", "flask", "--app", "thumbnails:create_app")
    main(
        HERE,
        web=[*flask, "run", "--port", "{port}", "--no-reload"],
        worker=[*flask, "liteq", "worker", "--concurrency", "2", "--loglevel", "INFO"],
        default_port=5000,
    )
