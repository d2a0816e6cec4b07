"""`python run.py`: the tables and some goods, then the web server and a worker."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from side_by_side import main, python  # noqa: E402 - where it is had to be said first

if __name__ == "__main__":
    manage = python("manage.py")
    main(
        HERE,
        before=[[*manage, "migrate", "--verbosity", "0"], [*manage, "stock"]],
        web=[*manage, "runserver", "127.0.0.1:{port}", "--noreload", "--skip-checks"],
        worker=[*manage, "liteq", "worker", "--concurrency", "2", "--loglevel", "INFO"],
        default_port=8000,
    )
