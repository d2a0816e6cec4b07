"""`python -m liteq_celery SCRIPT ...`, `python -m liteq_celery -m MODULE ...`: run a program under the shim.

For programs that `liteq` does not start: a web server, `manage.py`, a script that sends tasks.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import liteq_celery.shim

USAGE = "usage: python -m liteq_celery SCRIPT [ARGUMENTS], or -m MODULE [ARGUMENTS]"


def main() -> None:
    """Run what the command line names, as Python itself would."""
    arguments = sys.argv[1:]
    as_module = arguments[:1] == ["-m"]
    rest = arguments[1:] if as_module else arguments
    if not rest:
        raise SystemExit(USAGE)
    sys.argv = rest
    if as_module:
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(rest[0]).resolve().parent)  # it is the working directory, for `python -m`
        runpy.run_path(rest[0], run_name="__main__")


liteq_celery.shim.install()
main()
