"""Amazon's own client of SQS at a server of this machine: one connection, without retries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

__all__ = ["MOST", "sender_at"]

MOST = 10  # of a batch, as SQS has it


def sender_at(port: int, queue: str, message: Callable[[int], dict[str, Any]]) -> Callable[[int, int], None]:
    """Sends `message(i)`, the parameters of a message, to the queue: one as SendMessage, more as SendMessageBatch."""
    client = boto3.session.Session().client(
        "sqs", endpoint_url=f"http://127.0.0.1:{port}", region_name="eu-central-1", aws_access_key_id="bench",
        aws_secret_access_key="bench", config=Config(retries={"max_attempts": 0}),
    )  # fmt: skip
    url = client.create_queue(QueueName=queue)["QueueUrl"]

    def send(first: int, n: int) -> None:
        if n == 1:
            client.send_message(QueueUrl=url, **message(first))
            return
        entries = [{"Id": str(i), **message(i)} for i in range(first, first + n)]
        answer = client.send_message_batch(QueueUrl=url, Entries=entries)
        if answer.get("Failed"):
            raise RuntimeError(str(answer["Failed"][0]))

    return send
