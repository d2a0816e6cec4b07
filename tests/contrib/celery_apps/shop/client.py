"""The shop's web process; prints its results as one JSON document."""

import json
from datetime import UTC, datetime, timedelta

import proj
from celery import current_app
from celery.exceptions import ChordError, TimeoutError
from celery.result import AsyncResult
from orders import tasks

WAIT = {"timeout": 60}


def error_of(result):
    try:
        return result.get(**WAIT)
    except Exception as exc:
        return [type(exc).__name__, str(exc)]


def by_id(id_):
    result = AsyncResult(id_)
    return {"state": result.state, "name": result.name, "args": result.args, "ready": result.ready()}


def main():
    app = proj.celery_app
    charged = tasks.charge.delay(7, "19.90", fails=2)
    refused = tasks.charge.apply_async(args=(8, "1"), kwargs={"fails": 9}, link_error=tasks.settle_debt.s())
    reserved = tasks.reserve.delay(9, ["a"], unreachable=1)
    placed = tasks.place_order(10, ["shoe", "sock"])
    packed = tasks.pack_now(11, ["hat", "broken"])
    who = tasks.whoami.apply_async(countdown=0.1)
    sent = app.send_task("orders.tasks.whoami", queue="mail", eta=datetime.now(UTC) + timedelta(seconds=0.1))
    skipped = tasks.skip.delay()
    slow = tasks.stocktaking.delay()
    unknown = app.AsyncResult("nobody-knows-me")
    try:
        unknown.get(timeout=0.05)
    except TimeoutError as exc:
        gone = type(exc).__name__
    try:
        packed.get(**WAIT, follow_parents=False)
    except ChordError as exc:
        chord_error = str(exc)
    found = {
        "same app": current_app.main == app.main == tasks.charge.app.main,
        "charged": {key: str(value) for key, value in charged.get(**WAIT).items()},
        "refused": error_of(refused),
        "refused id": refused.id,
        "reserved": reserved.get(**WAIT),
        "placed": placed.get(**WAIT),
        "chord error": chord_error,
        "packed id": packed.id,
        "who": who.get(**WAIT),
        "who id": who.id,
        "sent": sent.get(**WAIT),
        "slow": slow.get(**WAIT),
        "skipped": [skipped.state, skipped.info],
        "unknown": [unknown.state, gone],
        "by id": by_id(charged.id),
        "eager": tasks.pack.apply(args=([1, "pen"],)).get(),
        "called": tasks.pack([2, "ink"]),
        "ping": list(app.control.ping(timeout=5)[0].values()),
        "registered": sorted(name for name in app.tasks if not name.startswith("celery.")),
        "beat": sorted(app.conf.beat_schedule),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
