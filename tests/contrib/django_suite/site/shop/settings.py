"""A small shop. SHOP_DB: its database; SHOP_QUEUE: a file of the queue's own; SHOP_POSTGRES: a server's folder,
with a colon and a database; SHOP_MYSQL: a database's URL; SHOP_TEST_DB: the database of tests, which is in memory else.
"""

import importlib.util
import os

SECRET_KEY = "only for tests"
DEBUG = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # tests log in all the time
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
ALLOWED_HOSTS = ["testserver"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "liteq_django",
    "shop.orders",
]
if importlib.util.find_spec("django_tasks"):
    INSTALLED_APPS.append("django_tasks")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SHOP_DB"],
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        },
        "TEST": {"NAME": os.environ.get("SHOP_TEST_DB")},
    }
}
if "SHOP_POSTGRES" in os.environ:
    folder, _, name = os.environ["SHOP_POSTGRES"].partition(":")
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": folder,
        "NAME": name,
        "USER": "postgres",
    }
if "SHOP_MYSQL" in os.environ:
    from urllib.parse import parse_qsl, unquote, urlsplit

    if not importlib.util.find_spec("MySQLdb"):
        import pymysql

        pymysql.install_as_MySQLdb()
    url = urlsplit(os.environ["SHOP_MYSQL"])
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.mysql",
        "HOST": url.hostname or "",
        "PORT": str(url.port or ""),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "NAME": url.path.lstrip("/"),
        "OPTIONS": {"charset": "utf8mb4", **dict(parse_qsl(url.query))},
    }

if "SHOP_QUEUE" in os.environ:
    LITEQ = {"BROKER_URL": f"sqlite:///{os.environ['SHOP_QUEUE']}", "OUTBOX_INTERVAL": 0.1}
else:
    LITEQ = {"DATABASE": "default"}
LITEQ["DURABILITY"] = "relaxed"

TASKS = {
    "default": {
        "BACKEND": "liteq_django.TasksBackend",
        "QUEUES": ["default", "letters"],
        "OPTIONS": {
            "TASKS": {
                "shop.jobs.flaky*": {"max_retries": 3, "retry_backoff": 0.01},
                "shop.jobs.unlucky": {"max_retries": 1, "retry_backoff": 0.01},
                "shop.jobs.only_os_errors": {
                    "max_retries": 1,
                    "retry_on": ["builtins.OSError"],
                    "retry_backoff": 0.01,
                },
                "shop.jobs.once": {"unique": True},
                "shop.jobs.sleep": {"soft_time_limit": 0.2},
            }
        },
    }
}
