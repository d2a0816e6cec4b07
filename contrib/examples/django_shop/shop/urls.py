"""The addresses."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from orders import views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders", views.place, name="place"),
    path("orders.json", views.listed, name="listed"),
    path("admin/", admin.site.urls),
]
