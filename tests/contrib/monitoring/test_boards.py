"""The shipped board and rules: each expression parses, and asks for metrics and labels that the collector has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from liteq.metrics.names import LITEQ, METRICS, series

from .promql import PromQLError, parse

ROOT = Path(__file__).resolve().parents[3]
BOARD = json.loads((ROOT / "contrib/grafana/liteq.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((ROOT / "contrib/grafana/liteq.rules.yml").read_text(encoding="utf-8"))
OF_PROMETHEUS = {"job", "instance"}
KNOWN = {name: metric for metric in METRICS.values() for name in series(metric)}


def expressions() -> dict[str, str]:
    found = {
        f"board: {panel['title']} {target['refId']}": target["expr"]
        for panel in BOARD["panels"]
        for target in panel["targets"]
    }
    found |= {f"rule: {rule['alert']}": rule["expr"] for group in RULES["groups"] for rule in group["rules"]}
    return found


EXPRESSIONS = expressions()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_asks_for_what_there_is(name):
    asked = parse(EXPRESSIONS[name])
    known = set(OF_PROMETHEUS)
    for metric, labels in asked.series:
        assert metric in KNOWN, f"{metric} is no metric"
        own = set(KNOWN[metric].labels) | ({"le"} if metric.endswith("_bucket") else set())
        assert labels <= own | OF_PROMETHEUS, f"{metric} has no {labels - own}"
        known |= own
    assert asked.grouped <= known


@pytest.mark.parametrize("variable", [one for one in BOARD["templating"]["list"] if one["type"] == "query"])
def test_a_variable_of_the_board_asks_for_what_there_is(variable):
    ((metric, labels), (label, _)) = parse(variable["definition"]).series
    assert labels <= set(KNOWN[metric].labels) | OF_PROMETHEUS
    assert label in {*KNOWN[metric].labels, *OF_PROMETHEUS}


def test_the_board_shows_every_metric_of_its_own():
    asked = {metric for text in EXPRESSIONS.values() for metric, _ in parse(text).series}
    unseen = {metric.name for metric in LITEQ if not asked & set(series(metric))}
    assert unseen == {"liteq_age_seconds", "liteq_count_capped"}  # notes on the others


def test_the_board_is_one_that_grafana_takes():
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert [target["refId"] for target in panel["targets"]] == ["A", "B", "C", "D"][: len(panel["targets"])]
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)  # none lies over another


def test_every_rule_says_what_it_means():
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert rule["annotations"]["summary"]


@pytest.mark.parametrize(
    "text",
    [
        "sum(", "sum by (queue liteq_messages", "rate(liteq_tasks_total)", "liteq_tasks_total[5m]", "1 2", "a ? b",
        "foo(liteq_messages)", "liteq_messages{state=dead}", "liteq_messages ==", "topk(liteq_messages)",
        'liteq_messages{state=~"("}',
    ],
)  # fmt: skip
def test_the_parser_refuses_what_prometheus_would(text):
    with pytest.raises(PromQLError):
        parse(text)
