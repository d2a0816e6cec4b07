"""`mail.send`, by the server of the setting `alert_smtp`."""

from __future__ import annotations

from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from liteq.alerts.targets import send_message
from liteq_flow.jobs.capture import LARGEST
from liteq_flow.reader.parts import texts

if TYPE_CHECKING:
    from liteq_flow.jobs.job import Job

__all__ = ["send_mail"]


def send_mail(job: Job) -> dict[str, Any]:
    """Send a mail. Those in `bcc` get it and stand nowhere in it."""
    given = job.env.document(job.document["with"])
    message = EmailMessage()
    message["From"], message["Subject"] = given["from"], given["subject"]
    for word in ("to", "cc", "bcc"):
        if addresses := texts(given.get(word)):
            message[word.title()] = ", ".join(addresses)
    message.set_content(str(given.get("message") or given.get("body") or ""))
    for name in given.get("attachments") or ():
        path = job.path(name)
        if path.stat().st_size > LARGEST:
            raise ValueError(f"the attachment {path} is larger than {LARGEST:,} bytes")
        message.add_attachment(path.read_bytes(), maintype="application", subtype="octet-stream", filename=path.name)
    send_message(message, job.app.conf.alert_smtp)
    return {"exit_code": 0}
