"""`liteq top`, `metrics` and `alert` without their extras: what works all the same, and what says what to install."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def sent(liteq):
    liteq("-A", "shop", "migrate")
    liteq("-A", "shop", "call", "shop.add", "-a", "[1, 2]")
    return liteq


@pytest.fixture
def without_extras(monkeypatch):
    for name in ("textual", "prometheus_client"):
        monkeypatch.setitem(sys.modules, name, None)


def test_once_and_json_need_no_extra(sent, without_extras):
    shown = sent("-A", "shop", "top", "--once")
    assert shown.code == 0, shown.err
    assert "celery\t1\t" in shown.out
    document = sent("-A", "shop", "top", "--json").json
    assert set(document) >= {"verdict", "states", "queues", "running", "causes", "warnings", "rates"}
    assert document["states"]["pending"] == {"n": 1, "exact": True}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("top",), "liteq top needs textual: pip install textual (--once needs none)"),
        (("metrics",), "metrics need prometheus_client: pip install prometheus-client"),
        (("metrics", "--port", "0"), "metrics need prometheus_client: pip install prometheus-client"),
    ],
)
def test_a_missing_extra_is_named(sent, without_extras, words, says):
    done = sent("-A", "shop", *words)
    assert done.code == 78
    assert says in done.err


@pytest.mark.parametrize(
    "words", [("top", "--once"), ("top", "--json"), ("alert",), ("alert", "--to", "true", "--once")]
)
def test_looking_makes_no_file(liteq, project, words):
    done = liteq("-A", "shop", *words)
    assert done.code == 69
    assert not list(project.glob("shop.db*"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("alert", "--once"), "name a target"),
        (("alert", "--to", "mailto:nobody"), "write mailto:ops@example.com"),
        (("alert", "--to", "true", "--every", "soon"), "--every is a number with a unit"),
        (("metrics", "--every", "30s"), "--every is for --textfile"),
    ],
)
def test_a_mistake_is_told(sent, words, says):
    done = sent("-A", "shop", *words)
    assert done.code in {2, 78}
    assert says in done.err


def test_alert_without_a_target_shows_what_is_wrong(sent):
    done = sent("-A", "shop", "alert", "--json")
    assert done.code == 1
    (found,) = done.json
    assert found["rule"] == "no_worker"
    assert "no worker lives; messages wait in 'celery'" in found["text"]


def test_a_worker_loads_none_of_it():
    code = (
        "import sys, json, liteq.cli.processes.worker, liteq.worker, liteq.worker.worker, liteq.beat; "
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert not {name for name in loaded if name.startswith(("liteq.alerts", "liteq.metrics", "liteq.cli.top"))}
    assert not {"textual", "prometheus_client", "jinja2"} & loaded
