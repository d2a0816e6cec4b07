"""Options of steps and workflows: each is checked where it is declared, given for a call, or made a value."""

from __future__ import annotations

from decimal import Decimal

import pytest

from liteq import LiteQ
from liteq.exceptions import WorkflowError
from liteq.workflow import Budget, Secret, StepOptions

WRONG = [
    ({"retrys": 1}, TypeError, "did you mean 'retries'"),
    ({"memo_key": "model"}, TypeError, "memo_key is a function"),
    ({"sensitive": 5}, TypeError, "sensitive is a list of parameters"),
    ({"doubt": "aks"}, ValueError, "did you mean 'ask'"),
    ({"spends": 0.02}, TypeError, "a float is not exact"),
    ({"spends": {"cots": "1"}}, ValueError, "did you mean 'cost'"),
    ({"spends": "-1"}, ValueError, "an amount from 0"),
    ({"fallback": {"model": "m2"}}, TypeError, "are a list"),
    ({"fallback": {"a": [1], "b": [2]}}, TypeError, "one argument"),
    ({"memo_scope": "tenant:a"}, ValueError, "the first word of a tag"),
    ({"limits": ["queue:mine"]}, ValueError, "a word of liteq's own"),
    ({"doubt": "ask", "memo": "1d"}, WorkflowError, "an effect elsewhere"),
    ({"doubt": "ask", "tx": True}, WorkflowError, "an effect elsewhere"),
]


@pytest.fixture(scope="module")
def app():
    return LiteQ("options")


@pytest.mark.parametrize(("options", "error", "text"), WRONG)
def test_a_wrong_option_is_refused_where_it_is_written(app, options, error, text):
    with pytest.raises(error, match=text):
        StepOptions(**options)
    with pytest.raises(error, match=text):
        app.step(**options)(lambda model: model)


def test_an_error_names_the_step_and_no_method_of_liteq(app):
    with pytest.raises(TypeError, match=r"^step 'pay': unknown option 'retrys'"):
        app.step("pay", retrys=1)(lambda: None)
    with pytest.raises(TypeError, match="step 'pay': compensate is a function of the step's result"):
        app.step("pay", compensate="refund")(lambda: None)


def test_a_misspelt_sensitive_parameter_does_not_stay_in_sight(app):
    for declare in (app.task, app.step, app.workflow):
        with pytest.raises(ValueError, match=r"sensitive: it has no parameter 'crd' to hide; did you mean 'card'\?"):
            declare("login", sensitive=["crd"])(lambda card: card) if declare != app.task else declare(
                name="login", sensitive="crd"
            )(lambda card: card)
    assert app.task(name="any", sensitive=["crd"])(lambda **fields: fields).sensitive == ["crd"]


def test_what_is_no_function_makes_no_step_and_no_workflow(app):
    with pytest.raises(TypeError, match="a step is made of a function, not of 5"):
        app.step("five")(5)
    with pytest.raises(TypeError, match="a workflow is made of a function, not of <@task"):
        app.workflow(app.task(name="plain")(lambda: None))


def test_a_fallback_names_a_parameter(app):
    with pytest.raises(ValueError, match="did you mean 'model'"):
        app.step("asks", fallback={"modle": ["m2"]})(lambda model="m1": model)
    step = app.step("asks", fallback={"model": ["m2"]})(lambda model="m1": model)
    assert step.fallback == {"model": ("m2",)}


def test_options_of_a_call_are_checked_and_leave_the_step_as_it_is(app):
    step = app.step("charges", retries=3, doubt="ask")(lambda order: order)
    other = step.options(key="c1", spends={"cost": "0.02", "tokens": 100}, doubt="repeat")
    assert (other.key, other.retries, other.doubt) == ("c1", 3, None)
    assert other.spends == {"cost": Decimal("0.02"), "tokens": 100}
    assert (step.key, step.doubt, step.spends) == (None, "ask", None)
    assert other.options(key="c2").spends == other.spends
    with pytest.raises(TypeError, match="did you mean 'spends'"):
        step.options(spend="1")


def test_options_add_up():
    both = StepOptions(retries=1, timeout="5s") | StepOptions(retries=2)
    assert both == StepOptions(timeout="5s", retries=2)
    assert repr(StepOptions(retries=2)) == "StepOptions(retries=2)"


def test_money_is_never_a_float():
    assert Budget(cost="2.50").cost == Decimal("2.50")
    with pytest.raises(TypeError, match="a float is not exact"):
        Budget(cost=2.5)
    with pytest.raises(ValueError, match="give one of them"):
        Budget()
    with pytest.raises(TypeError, match="did you mean 'tokens'"):
        Budget(token=5)


def test_a_workflow_has_a_budget_and_a_start_may_have_another(app):
    flow = app.workflow("budgeted", budget=Budget(cost="1"))(lambda: None)
    assert flow.budget == Budget(cost="1")
    assert flow.options(budget=Budget(requests=3)).asked.budget == Budget(requests=3)
    with pytest.raises(TypeError, match="budget is a Budget"):
        flow.options(budget="1")


def test_a_secret_shows_its_value_to_nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKEN_OF_TEST", "hush")
    secret = Secret("env:TOKEN_OF_TEST")
    assert secret.reveal() == "hush"
    assert "hush" not in repr(secret) + str(secret)
    (tmp_path / "key").write_text("quiet\n")
    assert Secret(f"file:{tmp_path}/key").reveal() == "quiet"
    with pytest.raises(WorkflowError, match="NOT_THERE"):
        Secret("env:NOT_THERE").reveal()
    with pytest.raises(ValueError, match="env:NAME"):
        Secret("hush")
