"""An order by the crate: a workflow. Stock and money are taken, a person decides, and a no gives both back."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from liteq import current_app as app
from liteq.workflow import ctx
from orders.models import Order, Payment, Product
from orders.tasks import send_letter

__all__ = ["TITLE", "crate_flow", "run_id"]

TITLE = "Send a crate"


class SoldOut(Exception):
    """Raised when there is not enough stock."""


class Rejected(Exception):
    """Raised when the shop does not want to send it."""


def run_id(order_id: int) -> str:
    """The id of the run of an order: one for each, so it cannot be started twice."""
    return f"crate-{order_id}"


@app.step(tx="default")
def reserve(order_id: int) -> None:
    """Take the stock. In Django's database: these rows and the checkpoint of the step are one commit."""
    order = Order.objects.get(pk=order_id)
    if not Product.objects.filter(pk=order.product_id, stock__gte=order.crate).update(stock=F("stock") - order.crate):
        raise SoldOut(str(order))


@app.step(tx="default")
def release(order_id: int) -> None:
    """Give the stock back."""
    order = Order.objects.get(pk=order_id)
    Product.objects.filter(pk=order.product_id).update(stock=F("stock") + order.crate)


@app.step(retries=5, retry_on=(OSError,))
def charge(order_id: int) -> str:
    """Take the money. A kill repeats this, and the bank sees the same key: it takes it once."""
    order = Order.objects.get(pk=order_id)
    payment, _ = Payment.objects.get_or_create(
        key=ctx.step_key, defaults={"order": order, "amount": order.product.price * order.crate}
    )
    return payment.key


@app.step
def refund(key: str) -> None:
    """Give the money back. Done twice it is done once."""
    Payment.objects.filter(key=key).update(refunded=True)


@app.step(tx="default")
def set_state(order_id: int, state: str) -> None:
    """Write the state that the page shows."""
    Order.objects.filter(pk=order_id).update(state=state)


@app.workflow
def crate_flow(order_id: int) -> str:
    """Take stock and money, ask the shop, send it; or undo what was done."""
    with ctx.saga() as saga:
        saga.add(set_state, order_id, Order.State.CANCELLED.value)
        reserve(order_id)
        saga.add(release, order_id)
        key = charge(order_id)
        saga.add(refund, key)
        if not ctx.approval(TITLE, details={"order": order_id}, timeout="2d", default=False).ok:
            raise Rejected(str(order_id))
        ctx.gather(ctx.spawn(send_letter, order_id, kind) for kind in ("customer", "warehouse", "accounts"))
        set_state(order_id, Order.State.SHIPPED.value)
        return key


def place(product: Product, email: str, crate: int) -> Order:
    """The order and its run, in one transaction: both are there, or neither."""
    with transaction.atomic():
        order = Order.objects.create(product=product, email=email, crate=crate)
        crate_flow.options(id=run_id(order.pk), tags=["crate"]).start(order.pk)
    return order
