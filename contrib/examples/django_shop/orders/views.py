"""The shop."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from orders.models import Letter, Order, Product
from orders.tasks import workflow

__all__ = ["index", "listed", "place"]

SHOWN = 20


class CardRefused(Exception):
    """Raised by the bank."""


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "orders/index.html", {"products": Product.objects.order_by("pk"), "orders": _orders()})


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    """Place an order. What goes wrong in the transaction takes the tasks with it: no letter about what never was."""
    product = get_object_or_404(Product, pk=request.POST.get("product"))
    try:
        with transaction.atomic():
            if not Product.objects.filter(pk=product.pk, stock__gt=0).update(stock=F("stock") - 1):
                messages.error(request, f"{product} is sold out.")
                return redirect("index")
            order = Order.objects.create(product=product, email=request.POST.get("email") or "you@example.org")
            workflow(order).delay()
            if request.POST.get("refuse"):  # the tasks have been sent by now
                raise CardRefused
    except CardRefused:
        messages.error(request, "The bank refused the card: there is no order, and no task either.")
    else:
        messages.success(request, f"Order {order.pk} is placed.")
    return redirect("index")


@require_GET
def listed(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 - a view's
    """The orders as the page shows them, asked again and again while some are on their way."""
    return JsonResponse({"orders": _orders()})


def _orders() -> list[dict[str, Any]]:
    orders = Order.objects.filter(crate=1).select_related("product").prefetch_related("letters")[:SHOWN]
    return [
        {
            "id": order.pk,
            "product": order.product.name,
            "email": order.email,
            "state": order.state,
            "letters": [{"kind": kind, "sent": kind in _sent(order)} for kind in Letter.Kind.values],
        }
        for order in orders
    ]


def _sent(order: Order) -> set[str]:
    return {letter.kind for letter in order.letters.all() if letter.sent_at is not None}
