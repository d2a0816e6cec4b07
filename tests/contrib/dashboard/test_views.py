"""The pages without a browser: what they show to whom, in parts, and what their acts leave behind."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pytest

from liteq import LiteQ
from liteq.message import WorkerIdentity, new_id
from liteq.schedules import crontab, solar
from liteq.serialization import decode
from liteq.storage.statistics.batches import Began
from liteq.storage.statistics.stats import Tally
from liteq.testing import drain


@pytest.fixture
def app(tmp_path):
    app = LiteQ("views", broker=f"sqlite:///{tmp_path / 'q.db'}")
    app.conf.task_routes = {"write": {"queue": "mail"}}

    @app.task(name="write", sensitive=["to"], max_retries=0)
    def write(to: str, subject: str = "hello") -> str:
        """Write a letter."""
        if subject == "bad":
            raise ValueError(f"cannot write to {to}")
        return subject

    @app.task(name="count")
    def count(n: int = 0) -> int:
        return n

    write.delay("ann@example.org")
    write.delay("bob@example.org", subject="bad")
    count.delay(7)
    drain(app)
    tally = Tally()
    tally.ran(0.1, 0.1)
    app.storage.stats.add({("write", "mail", "succeeded", ""): tally})  # as a worker counts
    count.apply_async((8,), queue="secret")
    app.schedules.add("letters", crontab(minute=0), "write", ["ann@example.org"])
    app.schedules.add("figures", 60, "count", [1], queue="secret")
    return app


PAGES = (
    "", "tasks", "tasks?q=state:dead", "failures", "queues", "queues/mail", "types/write", "workers", "schedules",
    "schedules/letters",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_a_viewer_of_one_queue_reads_nothing_of_another(client, app, path):
    page = client(app, "admin", queues=["mail"]).get(path)
    assert page.status == 200
    assert "secret" not in page.text
    assert "figures" not in page.text


@pytest.mark.parametrize("path", ["queues/secret", "types/count", "schedules/figures", "schedules/figures/run"])
def test_what_lies_outside_is_not_there(client, app, path):
    assert client(app, "admin", queues=["mail"]).get(path).status == 404
    assert client(app, "admin").get(path).status == 200


def test_the_file_is_for_viewers_of_all_queues(client, app):
    assert client(app, "viewer", queues=["mail"]).get("file").status == 403
    assert client(app, "viewer").get("file").status == 200


def dead(app):
    return next(one.id for one in app.storage.views.page("dead", limit=10))


def test_a_hidden_argument_is_in_no_page(client, app):
    for path in ("tasks?q=state:dead", f"tasks/{dead(app)}", "failures", "schedules/letters", "types/write"):
        assert "bob@example.org" not in client(app).get(path).text
        assert "ann@example.org" not in client(app).get(path).text


def test_without_the_right_no_argument_is_shown(client, app):
    page = client(app, "viewer").get(f"tasks/{dead(app)}")
    assert "Hidden: this needs the right" in page.words()
    assert "subject" not in page.words()


def test_a_button_is_offered_to_those_that_may(client, app):
    path = f"tasks/{dead(app)}"
    assert f"{path}/requeue" in client(app, "support").get(path).text
    assert f"{path}/delete" not in client(app, "support").get(path).text
    assert f"{path}/requeue" not in client(app, "viewer").get(path).text


@pytest.mark.parametrize(
    ("path", "part"),
    [("", "verdict"), ("", "queues"), ("tasks", "items"), ("queues/mail", "numbers"), ("file", "checks")],
)
def test_a_part_is_that_of_its_page(client, app, path, part):
    page = client(app).get(path).text
    alone = client(app).get(f"{path}?part={part}").text
    assert "<html" not in alone
    section = re.search(rf'<section id="part-{part}"[^>]*>(.*?)</section>', page, re.DOTALL)
    assert re.sub(r"\d", "", section[1].strip())[:200] == re.sub(r"\d", "", alone.strip())[:200]


def test_a_search_that_cannot_be_read_is_explained(client, app):
    page = client(app).get("tasks?q=sate:dead")
    assert page.status == 400
    assert "state" in page.words()


def test_a_list_goes_on_behind_its_mark(client, app):
    for n in range(60):
        app.tasks["count"].delay(n)
    first = client(app).get("tasks?q=state:pending")
    rows = re.findall(r'data-row="([^"]+)"', first.text)
    assert len(rows) == 50
    follows = re.search(r'rel="next" href="([^"]+)"', first.text)[1].replace("&amp;", "&")
    assert not set(rows) & set(re.findall(r'data-row="([^"]+)"', client(app).get(follows).text))


# -- acts


def audited(app, target):
    return [(one.actor, one.action, one.reason) for one in app.storage.audit.of_target(target)]


def test_an_edited_schedule_keeps_its_time_zone(client, app):
    when = crontab("30", "*/2")
    when.zone = ZoneInfo("America/New_York")
    app.schedules.add("far", when, "write")
    app.schedules.add("rare", 1234567, "write")
    at = client(app)
    for name, text in {"far": "30 */2 * * *", "rare": "1234567"}.items():
        before = app.storage.schedules.find(name).schedule
        assert f'value="{text}"' in at.get(f"schedules/{name}/edit").text
        assert at.post(f"schedules/{name}/edit", {"times": text}).status == 303
        assert app.storage.schedules.find(name).schedule == before


def test_the_sun_is_not_made_an_interval(client, app):
    pytest.importorskip("astral")
    app.schedules.add("dusk", solar("sunset", 48.85, 2.35), "write")
    at = client(app)
    assert at.get("schedules/dusk/edit").status == 409
    assert at.post("schedules/dusk/edit", {"times": "60"}).status == 409


def test_a_schedule_is_run_paused_and_edited(client, app):
    at = client(app)
    assert at.post("schedules/letters/run", {"reason": "now"}).status == 303
    assert at.post("schedules/letters/pause", {"reason": "rest"}).status == 303
    assert not app.storage.schedules.find("letters").enabled
    form = {"times": "*/5 * * * *", "args": '["***"]', "kwargs": '{"subject": "later"}'}
    assert at.post("schedules/letters/edit", form).status == 303
    found = app.storage.schedules.find("letters")
    assert b'"*/5"' in found.schedule
    assert b"ann@example.org" in found.signature  # what was shown hidden is kept
    assert b"later" in found.signature
    assert ("ann", "schedule pause", "rest") in audited(app, "letters")


def test_a_hidden_value_is_not_lost_by_an_edit(client, app):
    form = {"times": "60", "args": '["***", "more"]', "kwargs": "{}"}
    refused = client(app).post("schedules/letters/edit", form)
    assert refused.status == 409
    assert "hidden value" in refused.json["detail"]


@pytest.mark.parametrize("form", [{"times": "often"}, {"times": "60", "args": "{}"}, {"times": "60", "kwargs": "[]"}])
def test_what_makes_no_schedule_is_refused(client, app, form):
    before = app.storage.schedules.find("letters")
    assert client(app).post("schedules/letters/edit", form).status == 409
    assert app.storage.schedules.find("letters") == before


def test_one_of_a_program_is_changed_in_the_program(client, app):
    record = app.storage.schedules.find("figures")
    app.storage.schedules.put([record], owner="shop")
    refused = client(app).post("schedules/figures/edit", {"times": "5"})
    assert refused.status == 409
    assert "beat_schedule of shop" in refused.json["detail"]


def test_one_is_sent_with_the_values_of_the_form(client, app):
    done = client(app).post("types/write/send", {"arg.to": "carl", "arg.subject": '"again"', "reason": "a test"})
    assert done.status == 303
    drain(app)
    assert audited(app, "write") == [("ann", "send", "a test")]
    assert any(b"again" in (one.result or b"") for one in app.storage.reader.messages("succeeded", limit=100))


def test_a_number_of_many_digits_is_sent_as_it_is_written(client, app):
    assert client(app).post("types/write/send", {"arg.to": f"{10**30}", "arg.subject": "x"}).status == 303
    (sent,) = (one for one in app.storage.reader.messages("pending", limit=9) if one.task == "write")
    assert decode(sent.payload)[1]["to"] == 10**30


def test_a_rate_is_set_for_all_workers_and_taken_away(client, app):
    at = client(app)
    assert at.post("types/write/rate-limit", {"rate": "10/m"}).status == 303
    assert app.storage.limits.get("task:write").rate == "10/m"
    assert at.post("types/write/rate-limit", {"rate": ""}).status == 303
    assert app.storage.limits.get("task:write").rate is None
    assert at.post("types/write/rate-limit", {"rate": "fast"}).status == 409


def test_a_rate_holds_in_all_queues_so_a_viewer_of_one_cannot_set_it(client, app):
    assert client(app, "admin", queues=["mail"]).post("types/write/rate-limit", {"rate": "1/s"}).status == 403


def test_to_a_queue_that_is_not_seen_nothing_is_sent(client, app):
    app.conf.task_routes = {"write": {"queue": "elsewhere"}}
    assert client(app, "admin", queues=["mail"]).post("types/write/send", {"arg.to": "x"}).status in {403, 404}


def test_the_queue_that_a_task_declares_or_its_arguments_lead_to_is_looked_at_before_one_is_sent(client, app):
    app.task(name="print", queue="paper")(lambda: None)
    app.task(name="bill")(lambda tenant="": None)
    app.conf.task_routes = lambda name, args, kwargs, options, **_: kwargs.get("tenant") and f"of-{kwargs['tenant']}"
    tally = Tally()
    tally.ran(0.1, 0.1)
    app.storage.stats.add({(name, "mail", "succeeded", ""): tally for name in ("print", "bill")})
    ann = client(app, queues=["mail", "celery", "of-acme"])
    assert ann.post("types/print/send").status == 403
    assert ann.post("types/bill/send", {"arg.tenant": "other"}).status == 403
    assert ann.post("types/bill/send", {"arg.tenant": "acme"}).status == 303


@pytest.mark.parametrize(
    "path", ["schedules/letters/run", "types/write/send", "types/write/rate-limit", "workers/w/stop"]
)
def test_a_viewer_acts_on_nothing(client, app, path):
    assert client(app, "viewer").post(path, {}).status == 403


def test_the_way_back_from_a_choice_stays_in_the_dashboard(client, app):
    at = client(app)
    for back in ("//evil.example", "/\\evil.example", "https://evil.example", "../..//x", "tasks\r\nset-cookie: a=b"):
        found = at.post("look", {"theme": "dark", "zone": "UTC", "live": "2", "back": back})
        assert found.status == 303
        assert found.headers["location"].startswith("/ops/")
        assert "\n" not in found.headers["location"]
    assert "liteq_look=dark~UTC~2" in found.headers["set-cookie"]


def test_a_choice_that_makes_no_sense_is_the_default(client, app):
    found = client(app).post("look", {"theme": "<b>", "zone": "../etc; Path=/", "live": "1e9"})
    assert "liteq_look=~~2;" in found.headers["set-cookie"]


@pytest.mark.parametrize("path", ["", "tasks", "queues/mail"])
def test_a_first_view_is_small(client, app, path):
    from liteq_dashboard.assets import asset

    for n in range(60):
        app.tasks["write"].delay(f"{n}@example.org", subject="a subject of some length")
    page = client(app).get(path)
    files = re.findall(r'(?:href|src)="/ops/static/[0-9a-f]+/([^"]+)"', page.text)
    assert "liteq.js" in files
    assert len(page.body) + sum(len(asset(name).body) for name in files) <= 150_000  # before any compression


def test_a_worker_is_shown_with_the_weights_of_its_queues(client, app):
    facts = b'{"queues": ["mail", "slow"], "weights": {"mail": 3}}'
    app.storage.register_worker(WorkerIdentity(new_id(), "w1", "host", "boot", 1, "1"), facts)
    for page in ("workers", "workers/w1"):
        assert "mail =3" in client(app).get(page).words()
    app.storage.register_worker(
        WorkerIdentity(new_id(), "w2", "host", "boot", 1, "1"), b'{"queues": ["a", "b"], "strict": true}'
    )
    assert "in this order" in client(app).get("workers/w2").words()


def test_a_task_is_shown_with_those_of_its_batch(client, app):
    ids = app.enqueue_many(app.tasks["write"], [("ann",), ("bob",)])
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w1", "host", "boot", 1, "1"))
    leases = app.storage.claim(["mail"], worker=number, limit=2, visibility_s=60)
    app.storage.batches.note([Began(0, tuple(ids), tuple(lease.token for lease in leases))])
    page = client(app).get(f"tasks/{ids[0]}")
    assert "In a batch of 2, with" in page.words()
    assert f"tasks/{ids[1]}" in page.text
    assert client(app).get(f"api/v1/tasks/{ids[0]}").json["batch"]["ids"] == ids


def test_a_worker_of_other_queues_too_is_not_told_what_to_do_by_a_viewer_of_some(client, app):
    for name, facts in (("both", b'{"queues": ["mail", "slow"]}'), ("all", b'{"queues": ["mail"], "globs": ["*"]}')):
        app.storage.register_worker(WorkerIdentity(new_id(), name, "host", "boot", 1, "1"), facts)
        for ask in (client(app, queues=["mail"]).get, client(app, queues=["mail"]).post):
            assert ask(f"workers/{name}/stop").status == 403
        assert client(app).get(f"workers/{name}/stop").status == 200
    app.storage.register_worker(WorkerIdentity(new_id(), "own", "host", "boot", 1, "1"), b'{"queues": ["mail"]}')
    ann = client(app, queues=["mail"])
    assert ann.post("workers/own/consume", {"queue": "slow"}).status == 404
    assert ann.post("workers/own/stop").status == 303
