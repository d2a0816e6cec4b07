"""The page of the shop's people: crates that wait for a yes."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from liteq import current_app as app
from liteq.exceptions import AlreadyDecided, NoSuchApproval
from orders import crates
from orders.models import Order, Product

__all__ = ["decide", "index", "place"]


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """All orders by the crate, with what their runs wait for."""
    shown: list[dict[str, Any]] = []
    for order in Order.objects.filter(crate__gt=1).select_related("product", "payment")[:20]:
        run = app.Run(crates.run_id(order.pk))
        shown.append({"order": order, "status": run.status, "asks": bool(run.approvals())})
    return render(request, "orders/crates.html", {"products": Product.objects.order_by("pk"), "shown": shown})


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    """Order a crate."""
    product = get_object_or_404(Product, pk=request.POST.get("product"))
    order = crates.place(product, request.POST.get("email") or "you@example.org", int(request.POST.get("crate") or 12))
    messages.success(request, f"Order {order.pk} waits for the shop.")
    return redirect("crates")


@require_POST
def decide(request: HttpRequest, order_id: int) -> HttpResponse:
    """Say yes or no, once."""
    try:
        app.Run(crates.run_id(order_id)).approve(
            crates.TITLE, "yes" in request.POST, by=str(request.user) or "the shop", comment=request.POST.get("why", "")
        )
    except AlreadyDecided as exc:
        messages.error(request, f"Order {order_id}: {exc}")
    except NoSuchApproval:
        messages.error(request, f"Order {order_id} does not ask yet.")
    return redirect("crates")
