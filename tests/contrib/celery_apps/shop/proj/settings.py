"""Settings: what is Celery's begins with CELERY_."""

import os
from datetime import timedelta

from celery.schedules import crontab
from kombu import Exchange, Queue

SECRET_KEY = "not of interest to Celery"
DATA_FILE = os.environ["SHOP_DATA_FILE"]

CELERY_BROKER_URL = "redis://localhost:6379/0"
CELERY_RESULT_BACKEND = "redis://localhost:6379/1"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_RESULT_EXTENDED = True
CELERY_TIMEZONE = "Europe/Berlin"
CELERY_ENABLE_UTC = True
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_TIME_LIMIT = 60
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}

CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_QUEUES = (
    Queue("default", Exchange("default"), routing_key="default"),
    Queue("mail", Exchange("mail"), routing_key="mail"),
)
CELERY_TASK_ROUTES = {"mail.tasks.*": {"queue": "mail", "routing_key": "mail"}}

CELERY_BEAT_SCHEDULE = {
    "report every night": {"task": "orders.tasks.report", "schedule": crontab(hour=3, minute=30)},
    "count what is open": {
        "task": "orders.tasks.count_open",
        "schedule": timedelta(milliseconds=300),
        "args": ("by beat",),
        "options": {"expires": 10},
    },
}
