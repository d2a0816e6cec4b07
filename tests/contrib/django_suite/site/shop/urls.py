from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("in/liteq/", include("liteq_django.dashboard"))]
