from decimal import Decimal

import celery
from celery import chain, chord, group, shared_task
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from mail.tasks import alert, send_receipt
from proj.journal import note

logger = get_task_logger(__name__)


class GatewayTimeout(Exception):
    pass


class GatewayTask(celery.Task):
    """Keeps one connection for all calls in a process."""

    abstract = True
    _connection = None

    @property
    def connection(self):
        if self._connection is None:
            self._connection = object()
        return self._connection


@shared_task(bind=True, base=GatewayTask, max_retries=3, default_retry_delay=0.05)
def charge(self, order_id, amount, fails=0):
    """Charge an amount; the gateway does not answer the first `fails` times."""
    assert self.connection is self.connection
    try:
        if self.request.retries < fails:
            raise GatewayTimeout(f"attempt {self.request.retries}")
    except GatewayTimeout as exc:
        logger.warning("order %s: %s", order_id, exc)
        raise self.retry(exc=exc, countdown=0.05) from exc
    return {"order": order_id, "amount": Decimal(amount), "attempts": self.request.retries + 1}


@shared_task(bind=True, autoretry_for=(ConnectionError,), retry_kwargs={"max_retries": 2, "countdown": 0.05})
def reserve(self, order_id, items, unreachable=0):
    if self.request.retries < unreachable:
        raise ConnectionError("the warehouse is unreachable")
    return [[order_id, item] for item in items]


@shared_task
def pack(line):
    order_id, item = line
    if item == "broken":
        raise ValueError(f"{item} cannot be packed")
    return f"{order_id}:{item}"


@shared_task
def invoice(parcels, order_id):
    return {"order": order_id, "parcels": parcels}


@shared_task(bind=True)
def pack_all(self, lines, order_id):
    """Continue as a chord, as many parcels as there are lines."""
    return self.replace(chord([pack.s(line) for line in lines], invoice.s(order_id)))


def place_order(order_id, items):
    """Reserve, then pack everything at once, then the invoice and the receipt."""
    return chain(reserve.s(order_id, items), pack_all.s(order_id), send_receipt.s("customer@example.org")).delay()


def pack_now(order_id, items):
    """A chord with an errback; what failed is told by mail."""
    header = group(pack.s([order_id, item]) for item in items)
    return chord(header)(invoice.s(order_id).on_error(alert.s()))


@shared_task
def settle_debt(request, exc, traceback):
    note("settled", failed=request.id, error=repr(exc), traced=bool(traceback))


@shared_task(bind=True)
def whoami(self):
    return {
        "id": self.request.id,
        "request_id": getattr(self.request, "request_id", None),
        "queue": self.request.delivery_info["routing_key"],
        "hostname": self.request.hostname,
    }


@shared_task(bind=True)
def skip(self):
    self.update_state(state="SKIPPED", meta={"why": "nothing to do"})
    raise Ignore


@shared_task(soft_time_limit=0.3, time_limit=20)
def stocktaking():
    try:
        while True:
            sum(range(1000))
    except SoftTimeLimitExceeded:
        return "stopped in time"


@shared_task(ignore_result=True)
def count_open(origin):
    note("count_open", origin=origin)


@shared_task(ignore_result=True)
def report():
    note("report")
