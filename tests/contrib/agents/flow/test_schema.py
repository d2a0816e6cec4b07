"""The JSON Schema of flows for editors, held to what is read: it refuses nothing that runs."""

from __future__ import annotations

import jsonschema
import pytest

from liteq_flow import FlowRefused, read
from liteq_flow.reader.yaml_places import documents
from liteq_flow.schemas.schema import DEFINITIONS, DOCUMENT, published
from liteq_flow.schemas.schema_check import errors

PUBLISHED = jsonschema.Draft202012Validator(published())

DOCUMENTS = [
    {"steps": [{"run": "x"}]},
    {"steps": []},
    {"steps": [{"run": 1}]},
    {"steps": [{"run": ["a", True]}], "params": {"a": [1]}},
    {"params": [{"name": "a", "type": "float"}], "steps": [{"run": "x"}]},
    {"params": [{"name": "a", "minimum": 1}, "b=1", {"c": None}], "steps": [{"run": "x"}]},
    {"steps": [{"action": "http.request", "with": {"method": "GET"}}]},
    {"steps": [{"action": "http.request", "with": {"method": "GET", "url": "x", "body": {}}}]},
    {"steps": [{"run": "x", "continue_on": "never"}]},
    {"steps": [{"run": "x", "continue_on": ["failed"], "env": ["A=1", {"B": 2}]}]},
    {"steps": [{"run": "x", "env": ["A"]}]},
    {"steps": [{"foreach": {"items": [], "as": "key", "steps": [{"run": "x"}]}}]},
    {"steps": [{"foreach": {"items": "x", "steps": [{"run": "x", "retry_policy": {"limit": -1}}]}}]},
    {"steps": [{"run": "x", "outputs": [{"name": "a"}], "output": {"k": {"from": "stdin"}}}]},
    {"steps": [{"run": "x", "parallel": {"items": ["a"], "max_concurrent": 2000}}]},
    {"handler_on": {"exit": {"run": "x"}}, "steps": [{"event": "e"}], "secrets": {"A": "env:B"}},
    {"handler_on": {"end": {"run": "x"}}, "steps": [{"event": "e"}]},
    {"consts": [{"a": 1, "b": 2}], "steps": [{"event": "e"}]},
    {"type": "chain", "schedule": ["* * * * *"], "timeout_sec": -1, "steps": [{"task": "x"}]},
]


def test_the_published_schema_says_of_documents_what_the_reader_says():
    jsonschema.Draft202012Validator.check_schema(PUBLISHED.schema)
    for document in DOCUMENTS:
        assert PUBLISHED.is_valid(document) == (not list(errors(DOCUMENT, document, DEFINITIONS))), document
    valid = [PUBLISHED.is_valid(document) for document in DOCUMENTS]
    assert (valid.count(True), valid.count(False)) == (5, 14)
    assert PUBLISHED.is_valid({"steps": [{"command": "x", "depends_on": []}]})


@pytest.mark.parametrize(
    "text",
    [
        "steps: [echo hello]",
        "jobs: [{foreach: {items: [1], maxConcurrency: 2, steps: [echo hello]}}]",
        "maxActiveSteps: 3\nlogDir: x\nenvFile: .env\nsteps: [{run: x}]",
        "handlers: {cancel: {run: x}, exit: echo hello}\nsteps: [{run: x}]",
        "defaults: {retry: 2, timeout: 5m, continueOn: {failure: true}}\nsteps: [{run: x}]",
        "steps: [{run: x, continue_on: {failure: true}, retryPolicy: {limit: 2, intervalSec: 3}, shell: bash -e}]",
        "steps: [{run: x, repeat_policy: {repeat: until, condition: y, interval: 1}, needs: [], signalOnStop: INT}]",
        "steps: [{run: x, parallel: {items: [1], max_concurrency: 2}}]",
        "steps: [{call: child, params: a=1}, {run: child, params: {a: 1}}]",
        "steps: [{command: python3, script: x}, {action: file.read, config: {path: x}}]",
        "steps: [{run: x, compensate: shop.refund}, {run: x, compensate: {run: y, retry: 2}}]",
    ],
)
def test_the_published_schema_takes_each_form_that_is_read(text):
    read(text)
    (document,) = documents(text, "f")
    assert [one.message for one in PUBLISHED.iter_errors(document.plain)] == []


@pytest.mark.parametrize(
    "text",
    [
        "description: no steps",
        'steps: [""]',
        "steps: [{params: {a: 1}}]",
        "steps: [{run: x, continueOn: {falied: true}}]",
        "steps: [{run: x, compensate: {run: y, tiemout: 5}}]",
        "steps: [{run: x, compensate: {run: y, retry: 5m}}]",
        "steps: [{run: x, with: {shell: 5}}]",
        'steps: [{run: x, env: [""]}]',
        "steps: [{action: file.read, config: {pth: x}}]",
        "steps: [{action: file.raed}]",
    ],
)
def test_the_published_schema_refuses_what_the_reader_refuses(text):
    with pytest.raises(FlowRefused):
        read(text)
    (document,) = documents(text, "f")
    assert not PUBLISHED.is_valid(document.plain)


def test_a_step_is_named_by_a_number_as_by_a_text():
    found = read("steps: [{name: 2.5, run: x}, {run: y, depends: 2.5}]").flow
    assert found.steps[1].depends == ("2.5",)
    with pytest.raises(FlowRefused, match=r"there is no step '3\.5'"):
        read("steps: [{name: 2.5, run: x}, {run: y, depends: 3.5}]")
