"""An order by the crate in contrib/examples/django_shop: its worker is killed, and no piece and no cent moves twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django", reason="the example is a site of Django: needs pip install django")

SHOP = Path(__file__).resolve().parents[3] / "contrib" / "examples" / "django_shop"
KILLS = 12 if os.environ.get("LITEQ_TEST_NIGHTLY") else 3
STATE = """
import json
from liteq import current_app as app
from orders.models import Letter, Order, Payment, Product
from orders import crates
numbers = [order.pk for order in Order.objects.order_by("pk")]
# The runs first: what a run has done is there when it has ended, and may come while this looks.
runs = [app.Run(crates.run_id(number)).status for number in numbers]
asks = sum(len(app.Run(crates.run_id(number)).approvals()) for number in numbers)
print(json.dumps({
    "stock": Product.objects.get(pk=1).stock,
    "states": [order.state for order in Order.objects.order_by("pk")],
    "payments": [[str(p.amount), p.refunded] for p in Payment.objects.order_by("order_id")],
    "letters": Letter.objects.exclude(sent_at=None).count(),
    "runs": runs,
    "asks": asks,
}))
"""


class Shop:
    """The example in a folder of its own; commands by `manage.py`, and a worker."""

    def __init__(self, folder: Path) -> None:
        self.env = {**os.environ, "SHOP_DATA": str(folder), "SHOP_PAUSE_S": "0.05"}
        self.log = (folder / "log").open("ab")
        self.worker: subprocess.Popen[bytes] | None = None
        self.manage("migrate", "--verbosity", "0")
        self.manage("stock")

    def manage(self, *args: str) -> str:
        command = [sys.executable, "manage.py", *args]
        done = subprocess.run(command, cwd=SHOP, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shell(self, code: str) -> str:
        return self.manage("shell", "--verbosity", "0", "-c", code)

    def place(self, n: int, crate: int = 5) -> None:
        code = "from orders import crates; from orders.models import Product; "
        self.shell(code + f"[crates.place(Product.objects.get(pk=1), 'a@example.org', {crate}) for _ in range({n})]")

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.shell(STATE).splitlines()[-1])
        return found

    def start(self) -> None:
        command = [sys.executable, "manage.py", "liteq", "worker", "--concurrency", "2", "--loglevel", "INFO"]
        self.worker = subprocess.Popen(
            command, cwd=SHOP, env=self.env, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def kill(self) -> None:
        if self.worker is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.worker.pid, signal.SIGKILL)
            self.worker.wait()

    def until(self, fact: Callable[[dict[str, Any]], bool], within_s: float = 90) -> dict[str, Any]:
        give_up = time.monotonic() + within_s
        while not fact(state := self.state()):
            assert time.monotonic() < give_up, state
        return state


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.kill()
    shop.log.close()


def test_a_crate_is_sent_after_a_yes_and_undone_after_a_no(shop: Shop) -> None:
    shop.place(4)
    for _ in range(KILLS):
        shop.start()
        shop.until(lambda state: "running" in state["runs"] or state["asks"] == 4)
        shop.kill()
    shop.start()
    asked = shop.until(lambda state: state["asks"] == 4)
    assert asked["stock"] == 100 - 4 * 5
    assert asked["payments"] == [["124.50", False]] * 4

    code = "from liteq import current_app as app; from orders import crates; "
    shop.shell(code + "[app.Run(crates.run_id(n)).approve(crates.TITLE, n != 2, by='eve') for n in (1, 2, 3, 4)]")
    shop.kill()
    shop.start()

    ended = shop.until(lambda state: set(state["runs"]) <= {"succeeded", "failed"})
    assert ended["states"] == ["shipped", "cancelled", "shipped", "shipped"]
    assert ended["runs"] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert ended["payments"] == [["124.50", n == 1] for n in range(4)]
    assert ended["stock"] == 100 - 3 * 5
    assert ended["letters"] == 9


def test_an_order_that_is_rolled_back_has_no_run(shop: Shop) -> None:
    code = """
from django.db import transaction
from liteq import current_app as app
from orders import crates
from orders.models import Order, Product
try:
    with transaction.atomic():
        crates.place(Product.objects.get(pk=1), "a@example.org", 2)
        raise RuntimeError
except RuntimeError:
    pass
print(Order.objects.count(), len(app.runs()))
"""
    assert shop.shell(code).split() == ["0", "0"]
