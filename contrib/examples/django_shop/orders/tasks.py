"""The tasks of the worker: three letters side by side and, when all are sent, the parcel."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone

from liteq import chord, shared_task
from orders.models import Letter, Order

__all__ = ["send_letter", "ship", "workflow"]


def workflow(order: Order) -> Any:
    """Everything that is to happen with `order`. Sent in the transaction that places it: there if the order is."""
    letters = [send_letter.si(order.pk, kind) for kind in Letter.Kind.values]
    return chord(letters, ship.si(order.pk))


@shared_task(autoretry_for=(OSError,), retry_backoff=True, max_retries=5)
def send_letter(order_id: int, kind: str) -> None:
    """Send one letter. When its process dies right after it has left, it is sent twice; but it is always sent."""
    letter, _ = Letter.objects.get_or_create(order_id=order_id, kind=kind)
    if letter.sent_at is not None:
        return
    time.sleep(settings.PAUSE_S)
    order = letter.order
    to = order.email if kind == Letter.Kind.CUSTOMER else f"{kind}@example.org"
    send_mail(f"Order {order.pk}: {order.product}", f"{order.product} for {order.product.price} EUR.", None, [to])
    letter.sent_at = timezone.now()
    letter.save()


@shared_task
def ship(order_id: int) -> None:
    """Hand the parcel over; all letters have been sent."""
    Order.objects.filter(pk=order_id).update(state=Order.State.SHIPPED)
