"""Goods, orders, and the letters about them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

__all__ = ["Letter", "Order", "Payment", "Product"]


class Product(models.Model):
    """Something to buy."""

    name = models.CharField(max_length=80, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """One product, bought once, or by the crate."""

    class State(models.TextChoices):
        PLACED = "placed"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    email = models.EmailField()
    crate = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"order {self.pk}: {self.product}"


class Letter(models.Model):
    """A letter about an order. There is one of a kind, and it remembers that it was sent."""

    class Kind(models.TextChoices):
        CUSTOMER = "customer"
        WAREHOUSE = "warehouse"
        ACCOUNTS = "accounts"

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="letters")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["order", "kind"], name="one_letter_of_a_kind")]

    def __str__(self) -> str:
        return f"{self.kind} letter of {self.order}"


class Payment(models.Model):
    """Money for an order, taken once: the bank knows it by its key."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="payment")
    key = models.CharField(max_length=120, unique=True)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    refunded = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.amount} for {self.order}"
