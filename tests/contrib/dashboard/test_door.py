"""The door of `liteq dashboard`: links that are good once, tokens, the word of a proxy, sessions."""

from __future__ import annotations

import json
import os

import pytest

from liteq import LiteQ
from liteq.clock import FakeClock
from liteq.exceptions import ImproperlyConfigured
from liteq.monitor.documents import Ends
from liteq_dashboard import Viewer
from liteq_dashboard.dispatch import Asked, Dashboard
from liteq_dashboard.guard.door import Door, Proxy
from liteq_dashboard.guard.tokens import Tokens
from liteq_dashboard.http import Route
from liteq_dashboard.render import json_answer
from liteq_dashboard.routes import Table

OWN = {"sec-fetch-site": "same-origin"}
ANN = Viewer("ann", "operator", ["mail*"])


@pytest.fixture
def app(tmp_path):
    with LiteQ("door", broker=f"sqlite:///{tmp_path / 'q.db'}") as made:
        made.storage.migrate()
        yield made


class House:
    """A page behind a door."""

    def __init__(self, app, **options):
        self.clock = FakeClock()
        self.door = Door(self.clock, root="/ops", **options)
        home = Route("GET", "", "view", lambda request, reader: json_answer({"name": request.viewer.name}))
        self.board = Dashboard(app, table=Table([home, *self.door.routes]), login="login", leave="leave")

    def ask(self, method, path, *, cookie="", address="10.0.0.1", headers=None, **form):
        sent = {**(headers or {}), **({"cookie": cookie} if cookie else {})}
        fields = {name: [value] for name, value in form.items()}
        asked = Asked(method, path, "/ops", "", sent, Ends("ops", address, "10.0.0.2"), form=fields)
        return self.board.respond(asked, self.door.viewer(sent, address))

    def log_in(self, token, **more):
        return self.ask("POST", "login", headers=OWN, token=token, **more)


def cookie_of(answer):
    return answer.headers["set-cookie"].partition(";")[0]


def test_the_link_is_good_once_and_leads_in_by_a_cookie(app):
    house = House(app)
    path = f"enter/{house.door.key(ANN)}"
    found = house.ask("GET", path)
    assert (found.status, found.headers["location"]) == (303, "/ops/")
    assert found.headers["set-cookie"].endswith("; Path=/ops/; HttpOnly; SameSite=Strict")
    assert house.ask("GET", "", cookie=cookie_of(found)).body == b'{"name":"ann"}'
    assert house.ask("GET", path).status == 403


def test_the_link_is_good_for_a_minute(app):
    house = House(app)
    path = f"enter/{house.door.key(ANN)}"
    house.clock.advance(seconds=61)
    assert house.ask("GET", path).status == 403


@pytest.mark.parametrize("foreign", ["a b=c", '{"k": 1}', "one", 'a[0]="x', "", "=x", "k=é"])
def test_a_cookie_of_another_program_signs_nobody_out(app, foreign):
    house = House(app, tokens=Tokens())
    own = cookie_of(house.ask("GET", f"enter/{house.door.key(ANN)}"))
    for cookie in (f"{foreign}; {own}", f"{own}; {foreign}"):
        assert house.ask("GET", "", cookie=cookie).status == 200


def test_without_a_cookie_a_page_leads_to_the_login(app):
    found = House(app).ask("GET", "")
    assert (found.status, found.headers["location"]) == (303, "/ops/login")


def test_a_token_is_pasted_once(app):
    house = House(app, tokens=Tokens({"s3cret": ANN}))
    assert b'name="token"' in house.ask("GET", "login").body
    found = house.log_in("s3cret")
    assert house.ask("GET", "", cookie=cookie_of(found)).status == 200
    assert house.ask("POST", "login", token="s3cret").status == 403  # another site's form


def test_a_session_ends_by_leaving_and_by_itself(app):
    house = House(app, tokens=Tokens({"s3cret": ANN}))
    first, second = cookie_of(house.log_in("s3cret")), cookie_of(house.log_in("s3cret"))
    away = house.ask("POST", "leave", cookie=first, headers=OWN)
    assert (away.status, "Max-Age=0" in away.headers["set-cookie"]) == (303, True)
    assert house.ask("GET", "", cookie=first).status == 303
    assert house.ask("GET", "", cookie=second).status == 200
    house.clock.advance(seconds=13 * 3600)
    assert house.ask("GET", "", cookie=second).status == 303


def test_after_ten_wrong_tokens_an_address_waits_for_a_minute(app):
    house = House(app, tokens=Tokens({"s3cret": ANN}))
    assert [house.log_in("wrong").status for _ in range(11)] == [403] * 10 + [429]
    assert house.log_in("s3cret").status == 429
    assert house.ask("GET", "", headers={"authorization": "Bearer s3cret"}).status == 303  # not looked at
    assert house.log_in("s3cret", address="10.0.0.9").status == 303
    house.clock.advance(seconds=61)
    assert house.log_in("s3cret").status == 303


def test_a_program_sends_the_token_itself(app):
    house = House(app, tokens=Tokens({"s3cret": ANN}))
    assert house.ask("GET", "", headers={"authorization": "bearer s3cret"}).status == 200
    assert house.ask("GET", "", headers={"authorization": "Basic s3cret"}).status == 303


def test_the_word_of_a_proxy_is_taken_from_its_address_alone(app):
    proxy = Proxy.of("X-Forwarded-User", ["10.0.0.0/24"], ["viewer"])
    house = House(app, proxy=proxy, tokens=Tokens({"s3cret": ANN}))
    said = {"x-forwarded-user": "bob"}
    assert house.door.viewer(said, "10.0.0.7") == Viewer("bob", "viewer")
    assert house.door.viewer({"x-forwarded-user": "ann"}, "10.0.0.7") == ANN  # as the file of tokens has her
    for address in ("10.0.1.7", None, "nonsense", "::1"):
        assert house.door.viewer(said, address) is None
    assert house.door.viewer({"x-forwarded-user": ""}, "10.0.0.7") is None


def test_behind_the_proxy_wrong_tokens_are_counted_by_the_address_that_it_names(app):
    house = House(app, proxy=Proxy.of("X-User", ["10.0.0.1/32"], ["viewer"]), tokens=Tokens({"s3cret": ANN}))

    def log_in(token, behind):
        headers = {**OWN, "x-forwarded-for": f"6.6.6.6, {behind}"}
        return house.ask("POST", "login", headers=headers, token=token).status

    assert [log_in("wrong", "1.1.1.1") for _ in range(11)][-1] == 429
    assert log_in("s3cret", "2.2.2.2") == 303


# -- the file of tokens ------------------------------------------------------------------------------------------------


def written(tmp_path, document, mode=0o600):
    path = tmp_path / "tokens.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)
    return path


def test_tokens_are_read_with_names_rights_and_queues(tmp_path):
    path = written(tmp_path, {"s3cret": {"name": "ann", "rights": ["operator"], "queues": ["mail*"]}})
    tokens = Tokens.read(path)
    assert tokens.viewer("s3cret") == ANN
    assert tokens.viewer("") is tokens.viewer("s3cre") is None
    assert "s3cret" not in repr(vars(tokens))


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_of_tokens_that_others_may_read_is_refused(tmp_path, mode):
    with pytest.raises(ImproperlyConfigured, match="chmod 600"):
        Tokens.read(written(tmp_path, {"s3cret": {"name": "ann", "rights": "view"}}, mode))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds an object"),
        ({}, "holds an object"),
        ({"s3cret": "ann"}, "entry 1"),
        ({"s3cret": {"name": "ann"}}, "entry 1"),
        ({" ": {"name": "ann", "rights": "view"}}, "empty token"),
        ({"s3cret": {"name": "ann", "rights": ["veiw"]}}, "did you mean 'view'"),
        ({"s3cret": {"name": "ann", "rights": ["view"], "queue": ["a"]}}, "unknown field 'queue'; use queues"),
        ({"s3cret": {"name": "ann", "rights": ["view"], "queues": [1]}}, "queues is a list of names"),
    ],
)
def test_what_is_no_file_of_tokens_is_refused_and_tells_no_token(tmp_path, document, words):
    with pytest.raises(ImproperlyConfigured, match=words) as refused:
        Tokens.read(written(tmp_path, document))
    assert "s3cret" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        Tokens.read(tmp_path / "nothing.json")
