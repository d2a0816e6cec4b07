"""The SQS server of moto, which keeps messages in memory: what tests of AWS programs use in the place of Amazon's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.peers import sqs_client

MOST = sqs_client.MOST


def server(port: int) -> list[list[str]]:
    return [[sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]]


def sender(port: int) -> Callable[[int, int], None]:
    return sqs_client.sender_at(port, "celery", _message)


def _message(i: int) -> dict[str, Any]:
    task = {"task": {"DataType": "String", "StringValue": "noop"}}
    return {"MessageBody": json.dumps({"args": [i]}), "MessageAttributes": task}
