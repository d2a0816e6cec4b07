"""The addresses."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from orders import crate_views, views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders", views.place, name="place"),
    path("orders.json", views.listed, name="listed"),
    path("crates", crate_views.index, name="crates"),
    path("crates/place", crate_views.place, name="place_crate"),
    path("crates/<int:order_id>/decide", crate_views.decide, name="decide_crate"),
    path("admin/", admin.site.urls),
]
