"""django-tasks-db on SQLite, with the settings that its documentation asks for: two worker processes.

It has no call that waits for a result: a caller looks again and again, here each millisecond.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.peers.django_settings"

import django

try:
    from django.tasks import task
except ImportError:  # before Django 6
    from django_tasks import task

from benchmarks.peers.surroundings import OPTIONS
from benchmarks.slots import attach

slots = attach()
django.setup()


@task
def noop(i):
    slots.stamp(i)
    return i


@task
def nap(i, seconds):
    time.sleep(seconds)
    slots.stamp(i)
    return i


@task
def text(i, value):
    slots.stamp(i)
    return len(value)


@cache
def ready():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def workers(n):
    ready()
    return [[sys.executable, "-m", "django", "db_worker", "--no-startup-delay", *OPTIONS.get("worker", [])]] * n


def send(i):
    ready()
    noop.enqueue(i)


def send_naps(n, seconds):
    ready()
    for i in range(n):
        nap.enqueue(i, seconds)


def send_text(i, value):
    ready()
    text.enqueue(i, value)


def call(i):
    ready()
    result = noop.enqueue(i)
    while not result.is_finished:
        time.sleep(0.001)
        result.refresh()
