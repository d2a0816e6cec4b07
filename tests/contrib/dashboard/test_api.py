"""The API: exports, payloads, parameters that are wrong, and its description."""

from __future__ import annotations

import csv
import io
from urllib.parse import quote

import orjson
import pytest

from liteq import LiteQ
from liteq.canvas import chain
from liteq.clock import FakeClock
from liteq.operating import Actor, start
from liteq.testing import drain
from liteq_dashboard.openapi import BODY, MACHINES, PREFIX, QUERY, SCHEMAS, description
from liteq_dashboard.routes import routes

FORMULAS = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", '=HYPERLINK("http://evil.example")']


@pytest.fixture
def app(tmp_path):
    with LiteQ("api", broker=f"sqlite:///{tmp_path / 'q.db'}", clock=FakeClock(), set_as_current=False) as made:

        @made.task(name="fail", sensitive=["card"])
        def fail(text: str, card: str = "") -> None:
            raise ValueError(text)

        made.storage.migrate()
        yield made


# -- exports -----------------------------------------------------------------------------------------------------------


def test_an_export_is_all_that_a_search_finds_whatever_a_page_shows(app, client):
    ids = {app.send_task("fail", ("x",), countdown=60).id for _ in range(1_050)}
    app.send_task("fail", ("x",))
    found = client(app).get("api/v1/tasks?q=state:scheduled&format=ndjson&limit=1")
    assert found.headers["content-disposition"] == 'attachment; filename="tasks.ndjson"'
    assert {orjson.loads(line)["id"] for line in found.body.splitlines()} == ids


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_an_export_is_a_formula(app, client, text):
    app.send_task("fail", (text,), queue=text)
    rows = list(csv.reader(io.StringIO(client(app).get("api/v1/tasks?format=csv").text, newline="")))
    assert rows[1][rows[0].index("queue")] == f"'{text}"


def test_an_error_of_an_export_is_no_formula(app, client):
    app.send_task("fail", ("=1+1",))
    drain(app)
    rows = list(csv.reader(io.StringIO(client(app).get("api/v1/tasks?format=csv").text)))
    assert rows[1][rows[0].index("error_message")] == "'=1+1"


def test_an_export_needs_its_right_and_a_search_that_can_be_read(app, client):
    assert client(app, "viewer").get("api/v1/tasks?format=csv").status == 403
    assert client(app, "viewer").get("api/v1/tasks?format=json").status == 200
    wrong = client(app).get("api/v1/tasks?format=csv&q=sate:dead")
    assert (wrong.status, "state" in wrong.json["detail"]) == (400, True)


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_a_payload_is_a_file_without_what_is_sensitive(app, client):
    id_ = app.send_task("fail", ("x",), {"card": "4111"}).id
    found = client(app).get(f"api/v1/tasks/{id_}/payload")
    assert found.headers["content-disposition"].startswith("attachment")
    assert (found.json["args"], found.json["kwargs"]) == (["x"], {"card": "***"})
    assert client(app, "viewer").get(f"api/v1/tasks/{id_}/payload").status == 403
    assert client(app).get("api/v1/tasks/nothing/payload").status == 404


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tasks?limit=0", "from 1 to 1,000"),
        ("tasks?limit=1001", "from 1 to 1,000"),
        ("tasks?limit=x", "from 1 to 1,000"),
        ("tasks?format=xml", "ndjson or csv"),
        ("series?metric=done_s&range=2h", "1h, 6h"),
        ("series?metric=nonsense", "nonsense"),
        ("activity?after=x", "x"),
        ("tasks?limt=5", "unknown parameter 'limt'; did you mean 'limit'?"),
        ("workflows/x?forma=svg", "did you mean 'format'?"),
        ("workflows?zzz=1", "unknown parameter 'zzz'; use"),
        ("overview?since=1h", "no parameter is taken here"),
        ("../health?worker=1", "did you mean 'workers'?"),
        ("../metrics?name=celery", "did you mean 'names'?"),
    ],
)
def test_a_parameter_that_is_wrong_is_told(app, client, path, words):
    found = client(app).get(f"api/v1/{path}".replace("api/v1/../", ""), accept="application/json")
    assert found.status == 400
    assert found.headers["content-type"] == "application/problem+json"
    assert words in found.json["detail"]


def test_a_page_for_people_takes_what_a_link_to_it_brings(app, client):
    assert client(app).get("tasks?utm_source=mail").status == 200


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("tasks/x/move", {"quee": "mail"}, "unknown field 'quee'; did you mean 'queue'?"),
        ("tasks/x/retry", {"versoin": "1"}, "did you mean 'version'?"),
        ("limits/api/set", {"rat": "1/s"}, "did you mean 'rate'?"),
        ("limits/api/resume", {"seconds": 5}, "unknown field 'seconds'; use reason"),
        ("queues/celery/pause", {"untill": 5}, "did you mean 'until'?"),
        ("schedules/nightly/run", {"at": 5}, "unknown field 'at'; use reason"),
        ("operations/preview", {"action": "retry", "search": "x"}, "unknown field 'search'; use action"),
        ("operations/start", {"acton": "retry"}, "did you mean 'action'?"),
        ("operations/x/stop", {"now": True}, "unknown field 'now'; use reason"),
    ],
)
def test_a_field_of_a_body_that_is_wrong_is_told(app, client, path, body, words):
    found = client(app).post(f"api/v1/{path}", json=body)
    assert (found.status, words in found.json["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("tasks/x/move", {"queue": 5}, "the field 'queue' is a text, not 5"),
        ("tasks/x/move", {"queue": ["mail"]}, "the field 'queue' is a text, not ['mail']"),
        ("tasks/x/move", {"priority": True}, "the field 'priority' is a whole number, not True"),
        ("tasks/x/run-at", {"at": 1e30}, "at: 1e+30 ms since the epoch is in no year from 1 to 9999"),
        ("tasks/x/run-at", {"at": [1]}, "the field 'at' is a whole number or a text, not [1]"),
        ("tasks/x/resend", {"new_id": []}, "the field 'new_id' is a text, not []"),
        ("tasks/x/requeue", {"version": 5}, "the field 'version' is a text, not 5"),
        ("tasks/x/requeue", {"reason": ["a"]}, "the field 'reason' is a text, not ['a']"),
        ("limits/api/set", {"rate": []}, "the field 'rate' is a text or a number, not []"),
        ("limits/api/set", {"tokens": {}}, "the field 'tokens' is a text, not {}"),
        ("queues/celery/pause", {"until": "5m"}, "the field 'until' is a number, not '5m'"),
        ("queues/celery/pause", {"until": 1e30}, "until: 1e+30 ms since the epoch is in no year from 1 to 9999"),
        ("operations/preview", {"action": "move", "q": "state:dead", "queue": 5}, "the field 'queue' is a text"),
        ("operations/start", {"action": "run-at", "q": "state:dead", "at": 1e30}, "in no year from 1 to 9999"),
    ],
)
def test_a_value_of_another_type_is_told_and_changes_nothing(app, client, path, body, words):
    app.limits.set("api", rate="5/s")
    found = client(app).post(f"api/v1/{path}", json=body)
    assert (found.status, words in found.json["detail"]) == (400, True), found.json
    assert app.limits.get("api").rate == "5/s"


def test_a_null_is_a_field_that_is_not_given(app, client):
    found = client(app).post("api/v1/queues/celery/pause", json={"until": None, "reason": None})
    assert found.status == 200


def test_the_api_takes_no_form(app, client):
    found = client(app).post("api/v1/queues/celery/pause", {"until": "5"})
    assert (found.status, found.json["detail"]) == (415, "send application/json")


def test_every_path_with_parameters_or_fields_of_its_own_is_in_the_table():
    paths = {route.path.removeprefix(PREFIX) for route in routes()}
    assert {*QUERY, *BODY, *MACHINES} <= paths


@pytest.mark.parametrize("name", ["activity", "limits", "operations", "tasks", "workflows"])
def test_a_list_goes_a_page_at_a_time_by_limit_and_after(app, client, name):
    for n in range(3):
        app.limits.set(f"key{n}", concurrent=1)
        chain(app.signature("fail", ("x",)), app.signature("fail", ("y",))).apply_async()
        start(app, "delete", "state:dead", by=Actor("ann", "page"), wait=True)
    ask = client(app).get
    whole = [one.get("id", one.get("key")) for one in ask(f"api/v1/{name}").json["items"]]
    seen, after = [], ""
    while after is not None and len(seen) <= len(whole):
        page = ask(f"api/v1/{name}?limit=1&after={quote(after)}").json
        assert len(page["items"]) <= 1
        seen += [one.get("id", one.get("key")) for one in page["items"]]
        after = page["next"]
    assert (seen, len(seen) >= 3) == (whole, True)
    for limit in ("0", "1001", "x", "-1", "9" * 5_000):
        wrong = ask(f"api/v1/{name}?limit={limit}")
        assert (wrong.status, "from 1 to 1,000" in wrong.json["detail"]) == (400, True)


@pytest.mark.parametrize("name", ["activity", "limits", "operations", "tasks"])
def test_a_mark_of_no_list_is_told(app, client, name):
    wrong = client(app).get(f"api/v1/{name}?after=%3F")
    assert (wrong.status, "`next` of the page before" in wrong.json["detail"]) == (400, True)


def test_health_is_503_with_too_few_workers_and_tells_no_names_of_queues_that_are_not_seen(app, client):
    assert client(app).get("health").status == 200
    assert client(app).get("health?workers=1").status == 503
    assert "warnings" in client(app).get("health").json
    assert "warnings" not in client(app, queues=["mail"]).get("health").json


def test_metrics_are_for_viewers_of_all_queues(app, client):
    pytest.importorskip("prometheus_client")
    found = client(app).get("metrics")
    assert (found.status, "# TYPE liteq_messages gauge" in found.text) == (200, True)
    assert client(app, queues=["mail"]).get("metrics").status == 404


# -- the description ---------------------------------------------------------------------------------------------------


def test_the_description_is_openapi(app, client):
    models = pytest.importorskip("fastapi.openapi.models")
    found = client(app).get("api/v1/openapi.json").json
    models.OpenAPI.model_validate(found)
    assert found["servers"] == [{"url": "/ops/api/v1"}]


def test_the_description_has_every_line_of_the_table_once():
    found = description(routes(), "/ops")
    lines = {(method, f"api/v1{path}") for path, item in found["paths"].items() for method in item}
    assert lines == {(r.method.lower(), r.path) for r in routes() if r.path.startswith("api/v1/")}
    ids = [one["operationId"] for item in found["paths"].values() for one in item.values()]
    assert len(set(ids)) == len(ids)
    assert all(one["summary"] for item in found["paths"].values() for one in item.values())


def test_every_reference_of_the_description_leads_to_a_schema():
    text = orjson.dumps(description(routes(), "")).decode()
    named = set(text.split("#/components/schemas/")[1:])
    assert {one.partition('"')[0] for one in named} <= set(SCHEMAS)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("overview", "Overview"),
        ("tasks", "Tasks"),
        ("tasks/{id}", "Task"),
        ("tasks/{id}/why", "Why"),
        ("failures", "Failures"),
        ("queues", "Queues"),
        ("queues/celery", "Queue"),
        ("limits", "Limits"),
        ("limits/api", "Limit"),
        ("operations", "Operations"),
        ("activity", "Activity"),
        ("series?metric=done_s", "Series"),
        ("workers", "Items"),
        ("schedules", "Items"),
        ("approvals", "Items"),
    ],
)
def test_answers_are_as_described(app, client, path, schema):
    id_, ann = app.send_task("fail", ("x",)).id, client(app)
    drain(app)
    app.send_task("fail", ("waits",))
    app.limits.set("api", rate="1/s")
    ann.post("api/v1/operations/start", json={"action": "requeue", "q": "task:nothing"})
    ann.post("api/v1/queues/other/pause", json={"reason": "it is moved"})
    found = ann.get("api/v1/" + path.replace("{id}", id_)).json
    assert set(SCHEMAS[schema]["required"]) <= found.keys()
    items = SCHEMAS[schema]["properties"].get("items", {}).get("items")
    if items:
        required = set(SCHEMAS[items["$ref"].rpartition("/")[2]]["required"])
        assert found["items"]
        assert all(required <= one.keys() for one in found["items"])
