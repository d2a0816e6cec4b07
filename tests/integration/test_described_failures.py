"""A task that says itself how it failed: `update_state(state="FAILURE", meta=...)`, then Ignore."""

from __future__ import annotations

import pytest

from liteq import LiteQ, states
from liteq.exceptions import Ignore, RemoteError
from liteq.testing import drain


class Refused(Exception):
    """Raised nowhere."""


@pytest.fixture
def app(tmp_path):
    app = LiteQ("app", broker=f"sqlite:///{tmp_path}/q.db", durability="relaxed", set_as_current=False)

    @app.task(name="say", bind=True)
    def say(self, state, meta):
        self.update_state(state=state, meta=meta)
        raise Ignore

    @app.task(name="say_refused", bind=True)
    def say_refused(self):
        self.update_state(state=states.FAILURE, meta=Refused("by the bank", 402))
        raise Ignore

    @app.task(name="say_object", bind=True)
    def say_object(self):
        self.update_state(state=states.FAILURE, meta=Refused("by the bank", {402}))
        raise Ignore

    yield app
    app.close()


def said(app, name, *args):
    sent = app.tasks[name].delay(*args)
    drain(app)
    return sent


def test_its_description_is_the_exception(app):
    result = said(app, "say", "FAILURE", {"exc_type": "ValueError", "exc_message": ["line 1", "line 2"], "own": 1})
    assert (result.state, result.failed(), result.ready()) == ("FAILURE", True, True)
    assert isinstance(result.info, ValueError)
    assert result.info.args == ("line 1", "line 2")
    with pytest.raises(ValueError, match="line 1"):
        result.get(timeout=60)
    single = said(app, "say", "FAILURE", {"exc_type": "ValueError", "exc_message": "at line 1"})
    assert single.result.args == ("at line 1",)


def test_a_class_that_is_not_known_is_named(app):
    result = said(app, "say", "FAILURE", {"exc_type": "NoSuchError", "exc_message": "?", "exc_module": "elsewhere"})
    assert isinstance(result.result, RemoteError)
    assert result.result.type_name == "elsewhere.NoSuchError"


def test_an_exception_can_be_given_itself(app):
    result = said(app, "say_refused")
    assert isinstance(result.result, Refused)
    assert result.result.args == ("by the bank", 402)


def test_an_argument_of_an_exception_that_json_has_no_form_for_is_its_repr(app):
    assert said(app, "say_object").result.args == ("by the bank", "{402}")


@pytest.mark.parametrize(
    ("state", "meta"), [("FAILURE", {"error": "own form"}), ("PROGRESS", {"exc_type": "ValueError"})]
)
def test_what_describes_no_exception_stays_as_it_is(app, state, meta):
    result = said(app, "say", state, meta)
    assert (result.state, result.info) == (state, meta)
