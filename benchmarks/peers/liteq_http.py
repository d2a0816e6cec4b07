"""liteq's gateway: its own API, and SQS's by boto3. Without either a local `delay()`, and `enqueue_many` for many."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.peers import liteq as local
from benchmarks.peers.surroundings import FOLDER, OPTIONS

__all__ = ["sender", "server"]

KIND = OPTIONS.get("http", "")
MODULE = "benchmarks.peers.liteq"
TASK = local.noop.name
KEYS = {"bench": {"name": "bench", "secret": "bench"}}  # the access key and the secret of sqs_client.py

if KIND == "sqs":
    from benchmarks.peers import sqs_client

    MOST = sqs_client.MOST


def server(port: int) -> list[list[str]]:
    if not KIND:
        return []
    local.app.storage.migrate()  # the gateway serves a queue that is there
    command = [sys.executable, "-m", "liteq", "-A", MODULE, "gateway", "--port", str(port)]
    if KIND != "sqs":
        return [command]
    file = FOLDER / "keys.json"
    file.write_text(json.dumps(KEYS))
    file.chmod(0o600)
    return [[*command, "--key-file", str(file)]]


def sender(port: int) -> Callable[[int, int], None]:
    if KIND == "sqs":
        return sqs_client.sender_at(port, "celery", _message)
    if KIND == "v1":
        return _by_api(port)
    return lambda first, n: local.send(first) if n == 1 else local.send_many(first, n)


def _by_api(port: int) -> Callable[[int, int], None]:
    import orjson

    from benchmarks.peers.http_client import Posting

    post = Posting(port, "/v1/tasks")
    return lambda first, n: post(orjson.dumps([{"task": TASK, "args": [i]} for i in range(first, first + n)])) and None


def _message(i: int) -> dict[str, Any]:
    task = {"task": {"DataType": "String", "StringValue": TASK}}
    return {"MessageBody": json.dumps({"args": [i]}), "MessageAttributes": task}
