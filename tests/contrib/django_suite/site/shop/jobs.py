"""Tasks of Django's own kind."""

import time

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task


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
