"""The drill's app of liteq's: a worker of it runs the tasks that both know beside those of Celery's."""

from __future__ import annotations

import os

from drill_tasks import SHARED

from liteq import LiteQ

app = LiteQ("drill", broker=os.environ["SHOP_QUEUE"].replace("liteq:", "sqlite:", 1))
# What only Celery's app knows waits for a worker of it, however long all of those are away.
app.conf.update(visibility_timeout=5, durability="relaxed", max_crashes=1_000, unknown_task_patience=3_600)
for name, run in SHARED.items():
    app.task(name=name, bind=True)(run)
