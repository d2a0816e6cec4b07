"""Orders in the admin; the queue's own pages are there by `liteq_django`."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin

from orders.models import Letter, Order, Product

__all__ = ["LetterInline", "OrderAdmin", "ProductAdmin"]


class LetterInline(admin.TabularInline):
    model = Letter
    extra = 0


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display: ClassVar = ["pk", "product", "email", "state", "placed_at"]
    list_filter: ClassVar = ["state"]
    inlines: ClassVar = [LetterInline]


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display: ClassVar = ["name", "price", "stock"]
