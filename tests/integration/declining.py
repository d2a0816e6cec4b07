"""Runs that fail at a step, whose body then does this and that, and that are retried."""

from __future__ import annotations


class Did(list):
    """The deeds of the steps of `declining`. `charge` fails until `well` is set."""

    well = False


def declining(app):
    """The steps "charge" and "notify", and the list of what they do."""
    did = Did()

    @app.step(name="charge")
    def charge(n: int) -> int:
        did.append(f"charge {n}")
        if not did.well:
            raise ConnectionError(f"declined {n}")
        return n

    @app.step(name="notify")
    def notify(what: str) -> str:
        did.append(what)
        return what

    return did


def of(app, body):
    charge, notify = app.steps_of_workflows["charge"], app.steps_of_workflows["notify"]
    return app.workflow(name="flow")(lambda: body(charge, notify))


def retried(app, worker, did, body):
    """The run of `body`, which has failed and was retried; `did` then has what it did since."""
    run = of(app, body).start()
    worker.run()
    assert run.status == "failed"
    retry_well(run, worker, did)
    return run


def retry_well(run, worker, did):
    """Retry a run that has failed, now that `charge` goes well; `did` then has what it did since."""
    did.clear()
    did.well = True
    assert run.retry()
    worker.run()
