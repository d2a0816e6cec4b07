"""Requests to the application; prints what was answered as one JSON document."""

import json
import time

from make_celery import celery_app, flask_app
from web import tasks, views


def until(fact, within_s=60):
    give_up = time.monotonic() + within_s
    while not (found := fact()):
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.01)
    return found


def states_of_a_long_task():
    id_ = views.start("process", 2)["result_id"]
    shown = until(lambda: (seen := views.status(id_))["state"] == "PROGRESS" and seen)
    tasks.process.update_state(task_id=id_, state="PROGRESS", meta={"told": "go on"})
    until(lambda: views.result(id_)["ready"])
    return [shown, views.status(id_)]


def cancelled_while_it_runs():
    id_ = views.start("for_ever")["result_id"]
    until(lambda: views.status(id_)["state"] == "STARTED")
    views.cancel(id_)
    return until(lambda: (seen := views.status(id_))["state"] == "REVOKED" and seen["state"])


def cancelled_before_it_runs():
    waiting = tasks.greet.apply_async(args=("late",), countdown=600)
    waiting.revoke()
    return waiting.state


def aborted():
    running = tasks.export.delay()
    until(lambda: running.state == "STARTED")
    running.abort()
    return running.get(timeout=60)


def main():
    with flask_app.app_context():
        greeted = views.start("greet", "world")["result_id"]
        until(lambda: views.result(greeted)["ready"])
        forgotten = tasks.forget.delay("x")
        divided = views.start("divide", 1, 0)["result_id"]
        until(lambda: views.status(divided)["state"] == "FAILURE")
        found = {
            "greeted": views.result(greeted),
            "forgotten": [forgotten.get(timeout=60), celery_app.AsyncResult(forgotten.id).result],
            "divided": [views.status(divided), views.result(divided)],
            "progress": states_of_a_long_task(),
            "revoked": cancelled_while_it_runs(),
            "revoked in time": cancelled_before_it_runs(),
            "aborted": aborted(),
            "task class": type(celery_app.tasks["web.tasks.greet"]).__mro__[1].__name__,
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
