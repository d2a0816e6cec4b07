"""`python -m liteq_crypt ID`: a line with a new key, for the file of keys."""

from __future__ import annotations

import sys

from liteq_crypt.keys import check_id, new_key

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m liteq_crypt ID   (an id such as 2026-11, or `fingerprint`)")
    try:
        sys.stdout.write(f"{check_id(sys.argv[1])}:{new_key()}\n")
    except ValueError as error:
        sys.exit(str(error))
