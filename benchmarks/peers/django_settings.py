"""The settings of the Django project in which django-tasks-db is measured."""

from __future__ import annotations

from benchmarks.peers.surroundings import DURABILITY, FOLDER

SECRET_KEY = "of a benchmark"
USE_TZ = True
INSTALLED_APPS = ["django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
SYNC = {"relaxed": "NORMAL", "durable": "FULL"}[DURABILITY]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "django.db",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={SYNC}",
        },
    }
}
