"""The frame that all pages stand in: the route table, links, parts, messages, files."""

from __future__ import annotations

import pytest

from liteq import LiteQ
from liteq.utils.names import segment, unescaped
from liteq_dashboard import RIGHTS, ROLES, Viewer
from liteq_dashboard.assets import asset, asset_path
from liteq_dashboard.http import Request
from liteq_dashboard.links import link
from liteq_dashboard.render import html, redirect
from liteq_dashboard.routes import routes

HARD_NAMES = ["a/b", "..", ".", "", "~", "~2F", "a b?c#d", "ä", "\n", "%2F", "a\\b", "</script>", "-", "x" * 300]


@pytest.fixture
def app(tmp_path):
    with LiteQ("frame", broker=f"sqlite:///{tmp_path / 'q.db'}") as made:
        made.storage.migrate()
        yield made


def request(**more):
    return Request(**{"method": "GET", "path": "", "viewer": Viewer("ann", "viewer"), "base": "/ops", **more})


@pytest.mark.parametrize("name", HARD_NAMES)
def test_any_name_is_one_segment_of_a_path(name):
    assert "/" not in segment(name)
    assert segment(name) not in {"", ".", ".."}
    assert unescaped(segment(name)) == name


def test_links_are_below_the_base():
    assert link("/ops", "tasks", "a/b", q="state:dead x", part=None) == "/ops/tasks/a~2Fb?q=state%3Adead+x"
    assert link("", "") == "/"


def test_a_path_that_is_not_there_is_404_and_a_method_that_is_not_405(app, client):
    assert client(app).get("nowhere").status == 404
    refused = client(app).post(asset_path("", "liteq.css"))
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_file_is_kept_by_its_hash_and_not_given_out_under_another(app, client):
    path = asset_path("/ops", "vendor/htmx.min.js")
    found = client(app).get(path)
    assert found.status == 200
    assert "immutable" in found.headers["cache-control"]
    assert found.body == asset("vendor/htmx.min.js").body
    assert client(app).get(path.replace(asset("vendor/htmx.min.js").hash, "0" * 16)).status == 404
    assert client(app).get("static/0/~2E~2E~2Faccess.py").status == 404


def test_every_right_of_the_table_is_one_that_viewers_can_have():
    assert {route.right for route in routes()} <= {"", *RIGHTS}


def test_a_misspelt_right_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'operator'"):
        Viewer("ann", ["operatr"])


def test_roles_are_bundles_of_rights():
    assert set(RIGHTS) - ROLES["operator"] == {"delete", "send"}
    assert Viewer("ann", ["viewer", "retry"], "mail*").sight == (("mail*",), False)


def test_a_problem_page_stands_in_the_frame_and_is_escaped():
    page = html(request(), "problem.html", 404, title="Not Found", detail="<script>alert(1)</script>").body.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<main" in page
    assert '<a class="skip"' in page


def test_a_message_is_shown_once():
    away = redirect(request(), "tasks/1", "it's <done>; 100 %")
    assert (away.status, away.headers["location"]) == (303, "/ops/tasks/1")
    sent = away.headers["set-cookie"].partition(";")[0]
    page = html(request(headers={"cookie": sent}), "problem.html", title="t", detail="d")
    assert "it&#39;s &lt;done&gt;; 100 %" in page.body.decode()
    assert "Max-Age=0" in page.headers["set-cookie"]


def test_a_part_is_its_block_alone():
    page = html(request(), "problem.html", part="title", title="Gone", detail="d")
    assert page.body == b"Gone"
    assert html(request(), "problem.html", part="nothing", title="Gone", detail="d").status == 404
