"""Tasks of Django's own kind."""

import os
import time

import liteq

try:
    from django.tasks import task
    from django.tasks.signals import task_finished, task_started
except ImportError:
    from django_tasks import task
    from django_tasks.signals import task_finished, task_started


@task
def add(a, b):
    return a + b


@task
async def add_async(a, b):
    return (a, b)


@task
def fail():
    raise ValueError("no such thing")


@task
def leave():
    raise SystemExit("bye")


@task
def unserializable():
    return {1, 2}


@task(takes_context=True)
def who(context, word):
    return [context.attempt, context.task_result.id, word]


@task(takes_context=True)
def flaky(context):
    if context.attempt < 3:
        raise OSError(f"attempt {context.attempt}")
    return context.attempt


@task(takes_context=True)
def flaky_that_tells(context):
    liteq.progress(context.attempt, 3)
    return flaky.func(context)


@task(takes_context=True)
def unlucky(context):
    raise OSError(f"attempt {context.attempt}")


@task
def only_os_errors():
    raise KeyError("not to be retried")


@task
def once(word):
    return word


@task
def sleep():
    time.sleep(20)


@task(takes_context=True)
def as_sent(context):
    sent = context.task_result.task
    return [sent.priority, sent.queue_name, sent.backend, str(sent.run_after)]


@task(priority=3)
def die():
    os._exit(9)


def _note(name):
    def hear(sender, task_result, **_named):
        one = task_result
        with open(os.environ["SHOP_HEARD"], "a") as file:
            file.write(f"{name} {one.status} {one.attempts} {len(one.errors)} {one.task.priority} {one.id}\n")

    return hear


if "SHOP_HEARD" in os.environ:
    task_started.connect(_note("started"), weak=False)
    task_finished.connect(_note("finished"), weak=False)
