"""`?mode=ro` in a Django project: nothing of the queue is written, not even by way of a transaction of Django's."""

from __future__ import annotations

import pytest
from django.db import transaction

from liteq import LiteQ
from liteq.exceptions import ReadOnly


@pytest.fixture
def looking(shop):
    app = LiteQ("looking", broker=f"{shop.broker_url.partition('?')[0]}?mode=ro", set_as_current=False)
    yield app
    app.close()


def test_the_queue_in_the_models_database_is_looked_at_with_django_s_library(shop, looking):
    sent = shop.send_task("one", (1,))
    driver = looking.storage.driver
    assert (driver.library, driver.read_only) == ("stdlib", True)
    assert looking.AsyncResult(sent.id).exists()


def test_a_queue_that_is_only_looked_at_takes_nothing_from_a_transaction(shop, looking):
    with transaction.atomic(), pytest.raises(ReadOnly):
        looking.send_task("one", (2,))
    assert sum(count.n for count in looking.storage.reader.counts()) == 0
