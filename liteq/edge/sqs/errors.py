"""Errors as SQS has them: a code that SDKs know, and a text that says what to do."""

from __future__ import annotations

from typing import Final

from liteq.edge.http import Answer, Problem

__all__ = ["KIND", "Refused", "answer_of"]

KIND: Final = "application/x-amz-json-1.0"
# The names of before the JSON protocol, by which older clients go (header x-amzn-query-error).
OLDER: Final = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}
CODES: Final = {
    401: "InvalidClientTokenId", 403: "AccessDenied", 404: "ReceiptHandleIsInvalid", 409: "ReceiptHandleIsInvalid",
    503: "ServiceUnavailable",
}  # fmt: skip


class Refused(Exception):
    """Raised to refuse a request: SQS's code, and a text. `status`: 400, but for signatures, where it is 403."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


def answer_of(error: Refused | Problem) -> Answer:
    """The answer to what was refused."""
    if isinstance(error, Problem):
        code = CODES.get(error.status, "InvalidParameterValue" if error.status < 500 else "InternalFailure")
        error = Refused(code, error.detail, error.status if error.status in {403, 413, 408, 411, 503, 500} else 400)
    fault = "Sender" if error.status < 500 else "Receiver"
    document = {"__type": f"com.amazonaws.sqs#{error.code}", "message": error.text}
    headers = {"x-amzn-query-error": f"{OLDER.get(error.code, error.code)};{fault}"}
    return Answer(error.status, document, headers, KIND)
