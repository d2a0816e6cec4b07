"""Fifteen flows in the shapes that people run on Dagu: each with how its steps end, and its outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ALL = "succeeded"


@dataclass(frozen=True)
class Shape:
    """`ends`: the steps that do not succeed. `outputs`: those of the run, or a look at them."""

    name: str
    text: str
    outputs: Mapping[str, Any] | Callable[[Mapping[str, Any]], bool] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict)
    status: str = ALL
    params: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)


def _foreach(outputs: Mapping[str, Any]) -> bool:
    collected = json.loads(outputs["SIZES"])
    return [one["size"] for one in collected["outputs"]] == ["5", "4", "6"] and collected["summary"]["failed"] == 0


SHAPES = (
    Shape(
        "backup",
        """
        description: each step after the one before, the stdout of one in the next
        type: chain
        shell: SHELL
        steps:
          - id: stamp
            run: echo 2026-11-29
            output: DAY
          - id: dump
            run: |
              echo "rows of $DAY" > dump.sql
              wc -l < dump.sql
            output: LINES
          - id: check
            run: test "${LINES}" -ge 1 && cat dump.sql
            output: CHECKED
        """,
        {"DAY": "2026-11-29", "LINES": "1", "CHECKED": "rows of 2026-11-29"},
    ),
    Shape(
        "fan",
        """
        type: graph
        shell: SHELL
        max_active_steps: 2
        steps:
          - {id: setup, run: echo ready}
          - {id: task_a, run: echo a > a.txt, depends: [setup]}
          - {id: task_b, run: echo b > b.txt, depends: [setup]}
          - {id: task_c, run: echo c > c.txt, depends: [setup]}
          - {id: merge, run: "cat a.txt b.txt c.txt | tr -d '\\n'", depends: [task_a, task_b, task_c], output: MERGED}
        """,
        {"MERGED": "abc"},
    ),
    Shape(
        "etl",
        """
        shell: SHELL
        params:
          - {name: environment, type: string, enum: [dev, prod], default: dev}
          - {name: batch, type: integer, minimum: 1, default: 100}
        env:
          - LEVEL: info
          - LABEL: ${params.environment}-$LEVEL
        steps:
          - id: plan
            run: echo "${params.batch} for ${params.environment} at ${env.LABEL}"
            output: PLAN
          - id: half
            depends: plan
            run: echo $(( ${params.batch} / 2 ))
            output: HALF
        """,
        {"PLAN": "8 for prod at prod-info", "HALF": "4"},
        params={"environment": "prod", "batch": "8"},
    ),
    Shape(
        "nested",
        """
        shell: SHELL
        env: [{CALLER: mine}]
        steps:
          - {id: prepare, run: echo prepared}
          - id: child
            depends: prepare
            action: dag.run
            with: {dag: child-workflow, params: {task_id: "123"}}
          - id: done
            depends: child
            run: echo "${steps.child.outputs.RESULT}"
            output: DONE
        ---
        name: child-workflow
        shell: SHELL
        params: [{name: task_id, default: "000"}]
        steps:
          - {id: work, run: 'echo "did ${params.task_id} for ${CALLER:-nobody}"', output: RESULT}
        """,
        {"DONE": "did 123 for nobody"},
    ),
    Shape(
        "templates",
        """
        steps:
          - id: render
            action: template.render
            with:
              template: |
                status={{ .status }}
              output: ${context.paths.artifacts_dir}/report.md
              data: {status: ok}
          - id: read
            depends: render
            action: file.read
            with: {path: "${context.paths.artifacts_dir}/report.md"}
            output: REPORT
        """,
        {"REPORT": "status=ok"},
    ),
    Shape(
        "gates",
        """
        shell: SHELL
        params: {day: sunday}
        steps:
          - id: only_monday
            run: echo monday
            preconditions: [{condition: "${params.day}", expected: monday}]
            continue_on: skipped
          - id: only_weekday
            run: echo weekday
            preconditions: [{condition: "${params.day}", expected: "re:(mon|tues|wednes|thurs|fri)day"}]
          - {id: of_weekday, run: echo never, depends: only_weekday}
          - id: with_file
            run: echo file
            preconditions: test -e nothing.txt
          - {id: always, run: echo always, depends: only_monday, output: WHEN}
        """,
        {"WHEN": "always"},
        {
            "only_monday": "skipped",
            "only_weekday": "skipped",
            "of_weekday": "skipped",
            "with_file": "skipped",
        },
    ),
    Shape(
        "flaky",
        """
        shell: SHELL
        steps:
          - id: fetch
            run: |
              echo x >> tries
              test "$(wc -l < tries)" -ge 3
              echo fetched
            retry_policy: {limit: 3, interval_sec: 0.05}
            output: FETCHED
        """,
        {"FETCHED": "fetched"},
    ),
    Shape(
        "poll",
        """
        shell: SHELL
        steps:
          - id: job
            run: |
              echo x >> polls
              test "$(wc -l < polls)" -ge 3 && echo done || echo running
            output: STATE
            repeat_policy: {repeat: until, condition: "$STATE", expected: done, interval_sec: 0.05, limit: 10}
          - {id: after, depends: job, run: 'echo "it is $STATE"', output: AFTER}
        """,
        {"STATE": "done", "AFTER": "it is done"},
    ),
    Shape(
        "routes",
        """
        shell: SHELL
        params: {kind: img-7}
        steps:
          - id: route
            action: router.route
            with:
              value: ${params.kind}
              routes: {text: [as_text], "re:^img-": [as_image, thumbnail]}
          - {id: as_text, run: echo text}
          - {id: as_image, run: echo image, output: IMAGE}
          - {id: thumbnail, run: echo small, output: SMALL}
        """,
        {"IMAGE": "image", "SMALL": "small"},
        {"as_text": "skipped"},
    ),
    Shape(
        "each",
        """
        shell: SHELL
        steps:
          - id: list
            run: echo '[{"slug":"alpha"},{"slug":"beta"},{"slug":"gammas"}]'
            output: ITEMS
          - id: sizes
            depends: list
            foreach:
              items: ${ITEMS}
              as: item
              key: ${foreach.item.slug}
              max_concurrent: 2
              steps:
                - id: size
                  run: printf %s "${foreach.item.slug}" | wc -c
                  output: SIZE
              collect: {size: "${steps.size.outputs.SIZE}"}
            output: SIZES
        """,
        _foreach,
    ),
    Shape(
        "accounts",
        """
        shell: SHELL
        steps:
          - id: fanout
            action: dag.run
            with: {dag: one-account, params: {account: "${ITEM.account}", region: "${ITEM.region}"}}
            parallel:
              max_concurrent: 2
              items: [{account: a1, region: us}, {account: a2, region: eu}]
          - {id: summary, depends: fanout, run: cat a1.txt a2.txt | tr '\\n' ' ', output: BOTH}
        ---
        name: one-account
        shell: SHELL
        params: [{name: account}, {name: region}]
        steps:
          - {id: process, run: 'echo "${params.region}" > "${params.account}.txt"'}
        """,
        {"BOTH": "us eu"},
    ),
    Shape(
        "handlers",
        """
        shell: SHELL
        handler_on:
          init: {run: echo begun > init.txt}
          success: {run: echo good > success.txt}
          failure: {run: echo bad > failure.txt}
          exit: {run: cat init.txt success.txt > exit.txt}
        steps:
          - {id: work, run: cat init.txt, output: INIT}
        """,
        {"INIT": "begun"},
    ),
    Shape(
        "clean_up",
        """
        shell: SHELL
        steps:
          - {id: deploy, run: exit 4}
          - {id: announce, run: echo deployed, depends: deploy}
          - {id: probe, run: exit 1, continue_on: failed}
          - {id: clean, run: echo cleaned, depends: probe, output: CLEANED}
        """,
        {"CLEANED": "cleaned"},
        {"deploy": "failed", "announce": "upstream_failed", "probe": "failed"},
        "failed",
    ),
    Shape(
        "release",
        """
        shell: SHELL
        steps:
          - {id: build, run: echo v7, output: VERSION}
          - id: review
            depends: build
            action: human.task
            with:
              prompt: Release ${VERSION}?
              form:
                type: object
                properties:
                  environment: {type: string, enum: [staging, live]}
                  notify: {type: boolean, default: true}
                required: [environment]
          - {id: tests, depends: build, run: echo tested}
          - id: release
            depends: [review, tests]
            run: echo "${VERSION} to ${steps.review.outputs.environment}, ${steps.review.outputs.notify}"
            output: RELEASED
        """,
        {"VERSION": "v7", "RELEASED": "v7 to live, true"},
        answers={"review": {"environment": "live"}},
    ),
    Shape(
        "outputs",
        """
        shell: SHELL
        steps:
          - id: query
            run: echo '{"rows":[{"id":7},{"id":9}]}'
            output: {last: {from: stdout, decode: json, select: ".rows[1].id"}, source: "db"}
          - id: write
            depends: query
            run: |
              echo "count=${steps.query.outputs.last}" >> "$DAGU_OUTPUT_FILE"
              printf 'list<<END\\n[1,2]\\nEND\\n' >> "$LITEQ_OUTPUT_FILE"
            outputs: [{name: count}, {name: list, type: json}]
          - id: publish
            depends: write
            action: outputs.write
            with: {values: {last: "${steps.query.outputs.last}", list: "${steps.write.outputs.list}"}}
        """,
        {"last": 9, "list": [1, 2]},
    ),
)
