"""Views that a browser would ask for; each returns the value that would be sent as JSON."""

from celery.result import AsyncResult

from web import tasks


def start(name, *args):
    return {"result_id": getattr(tasks, name).delay(*args).id}


def result(id_):
    result = AsyncResult(id_)
    ready = result.ready()
    value = result.result if ready and result.successful() else None
    return {"ready": ready, "successful": result.successful() if ready else None, "value": value}


def status(id_):
    task = tasks.process.AsyncResult(id_)
    if task.state == "PENDING":
        return {"state": task.state, "current": 0, "total": 1}
    if task.state != "FAILURE":
        return {"state": task.state, **(task.info if isinstance(task.info, dict) else {})}
    return {"state": task.state, "status": str(task.info)}


def cancel(id_):
    AsyncResult(id_).revoke(terminate=True, signal="SIGTERM")
    return {"cancelled": id_}
