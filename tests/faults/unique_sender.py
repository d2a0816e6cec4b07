"""Sends equal unique calls, and reports each answer: `<page> <id> <duplicate>`; until there is a file `enough`."""

from __future__ import annotations

import random
import sys
import time

from limits_app import FOLDER, refresh

seed, pages = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(seed)
while not (FOLDER / "enough").exists():
    page = f"page-{rng.randrange(pages)}"
    result = refresh.delay(page)
    sys.stdout.write(f"{page} {result.id} {int(result.duplicate)}\n")
    sys.stdout.flush()
    time.sleep(rng.random() / 50)
