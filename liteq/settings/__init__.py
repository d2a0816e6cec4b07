"""The settings: the table of them all (`table`), `app.conf` (`conf`), how objects are read (`objects`).

Files, the environment and the command line are read by `liteq.settings.sources`.
"""

from liteq.settings.celery_names import NO_EFFECT, WHY_NO_EFFECT
from liteq.settings.conf import KNOWN, Conf, Given, Source, canonical, closest_setting
from liteq.settings.objects import import_object, read_object
from liteq.settings.table import SETTINGS, Setting

__all__ = [
    "KNOWN",
    "NO_EFFECT",
    "SETTINGS",
    "WHY_NO_EFFECT",
    "Conf",
    "Given",
    "Setting",
    "Source",
    "canonical",
    "closest_setting",
    "import_object",
    "read_object",
]
