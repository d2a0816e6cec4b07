"""Actions that reach outside: mails, files that are waited for, and what undoes a step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liteq.app.schedules import Periodic
from liteq_flow.scheduling import add
from liteq_flow.snapshot import take

from .mailbox import Mailbox
from .running import Flows, statuses

pytestmark = pytest.mark.timeout(240)  # processes that are started on a loaded machine


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    found = Mailbox()
    yield found
    found.close()


@pytest.fixture(scope="module")
def posting(mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    """Flows with a worker that knows a mail server."""
    found = Flows(tmp_path_factory.mktemp("posting"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITEQ_ALERT_SMTP", mailbox.url)
        found.worker(concurrency=4)
    yield found
    found.stop()
    found.app.close()


def test_a_mail_is_sent_to_all_and_shows_those_that_may_be_seen(posting: Flows, mailbox: Mailbox):
    document = posting.run(
        """
        params: {who: "Zoe"}
        type: chain
        steps:
          - {id: write, action: file.write, with: {path: report.csv, content: "a,b"}}
          - id: send
            action: mail.send
            with:
              from: flows@example.com
              to: [ann@example.com, bob@example.com]
              cc: cy@example.com
              bcc: [dot@example.com]
              subject: The report of ${params.who}
              message: It is attached.
              attachments: [report.csv]
        """,
        "mail",
    )
    assert document["status"] == "succeeded", document
    said = [line for line in mailbox.lines if line.upper().startswith(("RCPT", "TO:", "CC:", "BCC:", "SUBJECT:"))]
    assert {line.lower().partition(" size")[0] for line in said if line.upper().startswith("RCPT")} == {
        f"rcpt to:<{name}@example.com>" for name in ("ann", "bob", "cy", "dot")
    }
    assert [line for line in said if not line.upper().startswith("RCPT")] == [
        "Subject: The report of Zoe", "To: ann@example.com, bob@example.com", "Cc: cy@example.com",
    ]  # fmt: skip
    assert 'Content-Disposition: attachment; filename="report.csv"' in mailbox.lines


def test_a_param_cannot_add_a_header(posting: Flows, mailbox: Mailbox):
    document = posting.run(
        """
        params: {who: ""}
        steps:
          - id: send
            action: mail.send
            with: {from: f@example.com, to: "a@example.com", subject: "Of ${params.who}", message: Hello}
        """,
        "injected", who="x\nBcc: evil@example.com",
    )  # fmt: skip
    assert statuses(document) == {"send": "failed"}
    assert not [line for line in mailbox.lines if "evil" in line]


def test_a_file_is_waited_for_until_it_is_there(posting: Flows):
    file = posting.write(
        """
        steps:
          - {id: come, action: wait.file, with: {path: made.txt, poll_interval: 50ms}}
          - {id: gone, action: wait.file, with: {path: lock, state: missing, poll_interval: 50ms}}
          - {id: after, depends: [come, gone], run: cat made.txt, output: SAID}
          - {id: never, action: wait.file, with: {path: never.txt, poll_interval: 50ms}, timeout: 300ms,
             continue_on: failed}
          - {id: long, action: wait.duration, with: {duration: 1h30m}, timeout: 300ms, continue_on: failed}
        """,
        "waiting",
    )
    lock = file.parent / "lock"
    lock.touch()
    run_id = posting.start(file)

    def looks(step: str) -> int:
        return sum((one.key or "").partition("~")[0] == step for one in posting.app.Run(run_id).steps())

    posting.until(lambda: looks("come") > 2 and looks("gone") > 2, lambda: posting.report(run_id))
    assert statuses(posting.report(run_id)) | {"never": "", "long": ""} == {
        "come": "waiting", "gone": "waiting", "after": "waiting", "never": "", "long": "",
    }  # fmt: skip
    (file.parent / "made.txt").write_text("made")
    lock.unlink()
    document = posting.rest(run_id)
    assert document["outputs"] == {"SAID": "made"}
    errors = {one["id"]: one.get("error", "") for one in document["steps"]}
    assert errors["never"] == errors["long"] == "it took longer than 0.3 s"


def test_what_succeeded_is_undone_when_a_later_step_fails(posting: Flows):
    document = posting.run(
        """
        steps:
          - {id: first, run: echo first >> did, compensate: {run: echo first >> undone}}
          - {id: call, depends: first, action: dag.run, with: {dag: inner}}
          - id: each
            depends: call
            foreach:
              items: [x, y]
              max_concurrent: 1
              steps:
                - {id: one, run: "echo ${foreach.item} >> did", compensate: {run: "echo ${foreach.item} >> undone"}}
          - {id: failed, depends: each, run: exit 1, compensate: {run: echo failed >> undone}}
          - {id: last, depends: failed, run: "true", compensate: {run: echo last >> undone}}
        handler_on:
          failure: {run: cp undone at_failure}
        ---
        name: inner
        steps: [{id: deep, run: echo deep >> did, compensate: {run: echo deep >> undone}}]
        """,
        "undoing",
    )
    folder = posting.folder / "undoing"
    assert document["status"] == "failed"
    assert (folder / "did").read_text().split() == ["first", "deep", "x", "y"]
    assert (folder / "at_failure").read_text().split() == ["y", "x", "deep", "first"]
    assert statuses(document)["first~undo"] == "succeeded"


def test_nothing_is_undone_when_the_flow_succeeds(posting: Flows):
    document = posting.run(
        """
        steps:
          - {id: first, run: "true", compensate: {run: echo first >> undone}}
          - {id: failed, depends: first, run: exit 1, continue_on: failed}
        """,
        "kept",
    )
    assert document["status"] == "succeeded"
    assert not (posting.folder / "kept" / "undone").exists()


def test_a_scheduled_flow_ends_at_its_timeout(posting: Flows):
    file = posting.write(
        """
        schedule: "@yearly"
        timeout_sec: 1
        steps: [{id: go, run: sleep 600}]
        handler_on: {abort: {run: touch aborted}}
        """,
        "yearly",
    )
    add(posting.app, take(file))
    document = posting.rest(Periodic(posting.app).run_now("yearly").id)
    assert (document["status"], "timeout" in document["error"]) == ("failed", True), document
    assert (file.parent / "aborted").exists()


def test_a_sub_flow_ends_at_its_timeout(posting: Flows):
    document = posting.run(
        """
        steps: [{id: call, action: dag.run, with: {dag: slow}}]
        ---
        name: slow
        timeout_sec: 1
        steps: [{id: sleeps, run: sleep 600}]
        """,
        "slow_inside",
    )
    assert statuses(document) == {"call": "failed", "call/sleeps": "failed"}


def test_scheduled_runs_of_a_flow_wait_for_each_other(posting: Flows):
    file = posting.write('schedule: "@yearly"\nmax_active_runs: 1\nsteps: [{id: go, event: go}]', "alone")
    add(posting.app, take(file))
    first, second = (Periodic(posting.app).run_now("alone").id for _ in range(2))
    assert [one["step"] for one in posting.rest(first)["waiting"]] == ["go"]
    posting.until(lambda: posting.report(second)["status"] == "waiting", lambda: posting.report(second))
    assert posting.report(second)["waiting"] == []
    posting.app.Run(first).send("go")
    assert [one["step"] for one in posting.rest(second)["waiting"]] == ["go"]
