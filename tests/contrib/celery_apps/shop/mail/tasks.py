from celery import shared_task
from proj.journal import note


@shared_task(bind=True)
def send_receipt(self, invoice, address):
    return {**invoice, "to": address, "queue": self.request.delivery_info["routing_key"]}


@shared_task
def alert(failed_id):
    note("alert", failed=failed_id)


@shared_task(ignore_result=True)
def flush_outbox(origin):
    note("flush_outbox", origin=origin)
