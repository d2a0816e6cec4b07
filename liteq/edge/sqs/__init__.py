"""Amazon SQS's JSON protocol over the queue: for boto3, for SDKs of any language, and for Celery's producers.

The one queue protocol over plain HTTP whose receipt handle changes with each receive: liteq's fencing token travels in
it, and a handle that is out of date is refused.
"""

from __future__ import annotations

from liteq.edge.sqs.face import Face

__all__ = ["Face"]
