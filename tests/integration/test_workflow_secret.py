"""`Secret`: its name travels and is kept, its value is read where it is used."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from liteq.exceptions import WorkflowError
from liteq.serialization import decode, encode
from liteq.testing import drain
from liteq.workflow import Secret, ctx
from liteq.workflow.history.codec import hash_of

VALUE = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("TOKEN_OF_A_TEST", VALUE)


def texts_of(app):
    """All that the queue's tables hold."""
    with app.storage.driver.read() as tx:
        tables = [name for (name,) in tx.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return "".join(str(tx.execute(f"SELECT * FROM {name}")) for name in tables)


def test_a_step_reveals_what_the_queue_knows_by_name_alone(app):
    seen = []

    @app.step(name="charge")
    def charge(token: Secret, n: int) -> int:
        seen.append(token.reveal())
        return n

    @dataclass
    class Order:
        n: int
        token: Secret

    @app.step(name="of_a_model")
    def of_a_model(order: Order) -> Secret:
        seen.append(order.token.reveal())
        return order.token

    @app.workflow(name="flow")
    def flow(token: Secret) -> str:
        charge(token, 1)
        same = of_a_model(Order(2, token))
        ctx.set("token", same)
        return ctx.call(plain, same)

    @app.task(name="plain")
    def plain(token):
        seen.append(token.reveal())
        return repr(token)

    run = flow.start(Secret("env:TOKEN_OF_A_TEST"))
    drain(app)
    assert run.result(0) == "Secret(***)"
    assert seen == [VALUE] * 3
    assert VALUE not in texts_of(app)
    assert "env:TOKEN_OF_A_TEST" in texts_of(app)


def test_a_body_may_not_reveal_it(app):
    @app.workflow(name="flow")
    def flow(token: Secret) -> str:
        return token.reveal()

    run = flow.start(Secret("env:TOKEN_OF_A_TEST"))
    drain(app)
    with pytest.raises(WorkflowError, match=r"'env:TOKEN_OF_A_TEST' is revealed in the body .* reveal\(\) there"):
        run.result(0)


def test_it_reads_a_file_without_the_newline_at_its_end(tmp_path):
    (tmp_path / "token").write_text("a\nb\n")
    assert Secret(f"file:{tmp_path}/token").reveal() == "a\nb"


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("TOKEN_OF_A_TEST")
    with pytest.raises(WorkflowError, match=r"'env:TOKEN_OF_A_TEST' is not in the environment"):
        Secret("env:TOKEN_OF_A_TEST").reveal()
    with pytest.raises(WorkflowError, match="cannot be read: No such file"):
        Secret(f"file:{tmp_path}/none").reveal()


@pytest.mark.parametrize("text", [VALUE, "", "env:", "vault:x", 7, f"env:{VALUE}\n"])
def test_a_value_in_the_place_of_a_name_is_refused_and_not_told(text):
    with pytest.raises(ValueError, match="env:NAME") as raised:
        Secret(text)
    assert VALUE not in str(raised.value)


def test_it_is_a_value_by_its_name():
    one = Secret("env:A")
    assert one == Secret("env:A") != Secret("env:B")
    assert {one: 1}[Secret("env:A")] == 1
    assert f"{one} {one!r}" == "*** Secret(***)"
    assert pickle.loads(pickle.dumps(one)) == one
    assert decode(encode({"a": [one]}, what="it")) == {"a": [one]}
    assert hash_of((one,), {}) == hash_of((Secret("env:A"),), {}) != hash_of((Secret("env:B"),), {})
