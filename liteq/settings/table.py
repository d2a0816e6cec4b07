"""Every setting: its type, unit, default, and what it does. Environment names, CLI help and docs are made from this.

The names are Celery's wherever Celery has the setting. To add one, add a row.
"""

from __future__ import annotations

from typing import Any

from liteq.settings.setting import Setting

__all__ = ["SETTINGS", "Setting"]

KIB, MIB, DAY = 1024, 1024 * 1024, 86_400.0
TASK_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"

Names = list[Any] | tuple[Any, ...] | set[Any]  # of str; one string is split at its commas


def _celery(name: str, kind: Any, default: Any, doc: str, **more: Any) -> Setting:
    return Setting(name, kind, default, doc, celery=name, **more)


_ROWS = [
    # -- the addresses of sending ------------------------------------------------------------------------------------
    _celery(
        "broker_url",
        str | None,
        None,
        "The file: `sqlite:///tasks.db`, four slashes for an absolute path; `?mode=ro`: to be looked at alone.",
    ),
    _celery("broker_transport_options", dict, {}, "Of these `visibility_timeout` is read."),
    _celery("result_backend", str | None, None, "Results are in the broker's file; taken for Celery's sake."),
    _celery("accept_content", Names, ("json",), "Serializers that are read, besides JSON."),
    _celery("result_accept_content", Names | None, None, "The same for results; None: as `accept_content`."),
    _celery("timezone", Any, None, "Time zone of schedules: its IANA name, or a tzinfo; None is UTC."),
    _celery(
        "enable_utc",
        bool,
        True,
        "Schedules without a zone are in UTC, else in `timezone`; a naive `eta` is UTC.",
    ),
    _celery("imports", Names, (), "Modules that a worker imports, for the tasks in them."),
    _celery("include", Names, (), "The same, said where the app is made."),
    # -- tasks ---------------------------------------------------------------------------------------------------
    _celery("task_acks_late", bool, True, "Acknowledge after the run; False: before it, so at most once."),
    _celery("task_allow_error_cb_on_chord_header", bool, False, "A chord's errback is called for its header's too."),
    _celery("task_always_eager", bool, False, "`delay` runs the task at once, here."),
    _celery("task_annotations", Any, None, "Changes to tasks' attributes: a dict by task name, or objects."),
    _celery("task_create_missing_queues", bool, True, "Queues that `task_queues` does not name may be used."),
    _celery("task_default_priority", int | None, None, "Priority of a message that sets none; higher goes first."),
    _celery("task_default_queue", str, "celery", "Queue of a message that no route sends elsewhere."),
    _celery("task_default_rate_limit", str | int | float | None, None, "Rate of a task that sets none: `10/m`."),
    _celery("task_eager_propagates", bool, False, "An eager task's exception is raised by `delay` itself."),
    _celery("task_ignore_result", bool, False, "Return values are not kept, unless the task says so."),
    _celery("task_inherit_parent_priority", bool, False, "A task's own messages have the priority that it has itself."),
    Setting("task_log_keep", float | None, None, "A task's log is kept so long after its end; None: none.", unit="s"),
    Setting("task_log_lines", int, 1_000, "Lines of one execution that are kept, and its last 50.", minimum=0),
    Setting("task_log_bytes", int, 256 * KIB, "Likewise, by their size.", unit="bytes", minimum=0),
    _celery("task_queues", Names | dict[str, Any] | None, None, "The queues: names or `Queue`s, or a dict by name."),
    _celery("task_routes", Any, None, "Where tasks go: a dict by name, glob or pattern, a list, a function."),
    _celery("task_send_sent_event", bool, False, "An event for every task that is sent."),
    _celery("task_serializer", str, "json", "How arguments are written: json, pickle (signed), yaml, msgpack, ..."),
    _celery("task_compression", str | None, None, "How arguments are compressed: gzip, bzip2, lzma, zstd."),
    _celery("result_serializer", str, "json", "How results are written."),
    _celery("result_compression", str | None, None, "How results are compressed."),
    Setting("pickle_key", str | None, None, "Secrets that sign pickles, comma-separated: the first writes, all read."),
    Setting(
        "payload_codec",
        Any,
        None,
        "Seals each value in the file: `module:Codec`, a class with `encode`, `decode` and `key_id`.",
    ),
    _celery("task_soft_time_limit", float | None, None, "SoftTimeLimitExceeded is raised in the task.", unit="s"),
    _celery("task_time_limit", float | None, None, "The process that runs the task is killed.", unit="s"),
    _celery(
        "task_reject_on_worker_lost",
        bool | None,
        None,
        "A task whose process died runs again, up to `max_crashes` times; False: it has failed.",
    ),
    _celery("task_store_eager_result", bool, False, "Results of eager tasks are stored too, as those of a worker."),
    _celery("task_store_errors_even_if_ignored", bool, False, "Errors are kept even where results are not."),
    _celery("task_track_started", bool, False, "STARTED is a state of its own."),
    # -- results -------------------------------------------------------------------------------------------------
    _celery("result_expires", float | None, DAY, "Age at which results go; None or 0: never.", unit="s", minimum=0),
    _celery("result_extended", bool, False, "Results tell the task's name and arguments; here they always do."),
    # -- worker --------------------------------------------------------------------------------------------------
    _celery("worker_concurrency", int | None, None, "Processes or threads; None or 0: one a CPU.", minimum=0),
    Setting("worker_coroutines", int, 1_000, "Tasks at once in each process of the pool `asyncio`.", minimum=1),
    _celery("worker_direct", bool, False, "Each worker also takes from a queue of its own, `NAME.dq`."),
    Setting(
        "worker_queues",
        Names,
        (),
        "Queues of a worker that is given none: names, with weights `mail=3`, globs `mail.*`; (): `task_queues`.",
    ),
    Setting("worker_strict_order", bool, False, "A worker takes from its queues in the order given, not in turns."),
    _celery("worker_disable_rate_limits", bool, False, "Rate limits are not kept."),
    _celery("worker_enable_remote_control", bool, True, "`control` and `inspect` are answered."),
    _celery("worker_hijack_root_logger", bool, True, "The worker sets up the root logger."),
    _celery("worker_log_color", bool | None, None, "Coloured log lines; None: on a terminal."),
    _celery("worker_log_datefmt", str | None, None, "Form of the time in log lines."),
    _celery("worker_log_format", str, "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s", "A log line."),
    Setting(
        "worker_log_tasks",
        int,
        100,
        "Without `-l`: lines about tasks that succeeded, in a second and a process; more are counted. 0: none.",
        minimum=0,
    ),
    _celery("worker_max_memory_per_child", int | None, None, "A larger child is replaced.", unit="KiB", minimum=0),
    _celery("worker_max_tasks_per_child", int | None, None, "Tasks until a child is replaced.", minimum=0),
    _celery(
        "worker_pool",
        str,
        "prefork",
        "How tasks are run.",
        choices=("prefork", "processes", "asyncio", "threads", "solo"),
    ),
    _celery(
        "worker_pool_start_method",
        str,
        "fork",
        "How a pool of processes starts a child: with the worker's memory (`fork`), or afresh: it imports the app.",
        choices=("fork", "forkserver", "spawn"),
    ),
    _celery("worker_pool_restarts", bool, False, "`pool_restart` may import modules that its message names."),
    _celery("worker_redirect_stdouts", bool, True, "Output of tasks goes to the log."),
    _celery("worker_redirect_stdouts_level", str, "WARNING", "At this level."),
    _celery("worker_send_task_events", bool, False, "Workers write events about their tasks (`-E`)."),
    _celery(
        "worker_soft_shutdown_timeout",
        float,
        0.0,
        "The time that a worker told to leave at once (QUIT, INT twice) gives to running tasks.",
        unit="s",
        minimum=0,
    ),
    _celery("worker_task_log_datefmt", str | None, None, "Form of the time in a task's log lines."),
    _celery("worker_task_log_format", str, TASK_LOG_FORMAT, "A log line of a task."),
    Setting("worker_without_tasks", bool, False, "A worker starts although its app has no task of its own."),
    # -- beat ----------------------------------------------------------------------------------------------------
    _celery("beat_schedule", dict, {}, "The periodic tasks: by entry, `task`, `schedule`, `args`, `options`."),
    _celery(
        "beat_max_loop_interval", float, 0.0, "Longest sleep between two looks; 0: as needed.", unit="s", minimum=0
    ),
    _celery("beat_cron_starting_deadline", float | None, None, "Older misses are not made up.", unit="s", minimum=0),
    Setting(
        "beat_catch_up",
        str,
        "one",
        "Runs that beat missed: `one` for all of them, none (`skip`), or one for each time (`all`).",
        choices=("one", "skip", "all"),
    ),
    # -- liteq's own: durability and recovery --------------------------------------------------------------------
    Setting(
        "durability",
        str,
        "durable",
        "Work that a power cut may take: none (`durable`; `strict` syncs more), the last moments (`relaxed`).",
        choices=("durable", "strict", "relaxed"),
    ),
    Setting("visibility_timeout", float, 60.0, "A lease not extended for so long is over.", unit="s", minimum=1),
    _celery("result_failure_expires", float | None, None, "The same as `dead_expires`.", unit="s", minimum=0),
    Setting("busy_timeout", float, 30.0, "Wait for the write lock before StorageBusy.", unit="s", minimum=0),
    Setting(
        "stuck_after",
        float,
        300.0,
        "A message that is due and waits for longer is told of: `doctor`, `status`, status routes, the admin.",
        unit="s",
        minimum=1,
    ),
    Setting(
        "unknown_task_patience",
        float,
        30.0,
        "A message whose task a worker does not know is left to others for so long (a rolling deploy); then it is a "
        "dead letter, unless a living worker of its queue knows the task: it waits for that. 0: at once.",
        "s",
        minimum=0,
    ),
    Setting("max_crashes", int, 3, "A task whose process died so often is a dead letter.", minimum=1),
    Setting("max_reaps", int, 10, "A task whose lease ran out so often is a dead letter.", minimum=1),
    Setting(
        "dead_expires", float | None, 30 * DAY, "Age at which dead letters go; None or 0: never.", unit="s", minimum=0
    ),
    Setting(
        "release",
        str,
        "",
        "The release of the code, such as v1.4: shown with what has failed since. A worker that starts with a new one "
        "leaves a mark in the charts. Stuck runs of workflows are tried by it again; without it, by any other code.",
    ),
    Setting(
        "audit_expires",
        float | None,
        90 * DAY,
        "Age at which the notes go of what people did, and marks; None or 0: never.",
        unit="s",
        minimum=0,
    ),
    Setting(
        "history_expires",
        float | None,
        90 * DAY,
        "Age at which statistics go, and causes of failure that no dead letter has; None or 0: never.",
        unit="s",
        minimum=0,
    ),
    Setting("idle_vacuum", bool, False, "While nobody writes, a worker gives the file's free pages back to the disk."),
    Setting("events_expires", float, 600.0, "Age at which events (`-E`) go.", unit="s", minimum=1),
    # -- liteq's own: workflows ------------------------------------------------------------------------------------
    Setting(
        "workflow_expires",
        float | None,
        30 * DAY,
        "Age at which ended runs go, and events that no run has taken; None or 0: never.",
        unit="s",
        minimum=0,
    ),
    Setting("max_step_bytes", int, 16 * MIB, "One result of a step.", unit="bytes", minimum=KIB),
    Setting(
        "workflow_history_warning",
        int,
        10_000,
        "A run with so many steps is told of in the log: let it `continue_as_new`.",
        minimum=1,
    ),
    Setting(
        "workflow_strict_replay",
        bool,
        False,
        "For development: the body is run anew after each step, so that what is not deterministic shows at once.",
    ),
    Setting("flow_folders", Names, (), "Folders of flows (YAML) that agents may start by their names (`liteq mcp`)."),
    Setting("workflow_webhook", str | None, None, "A URL that gets the signals of workflows, as JSON."),
    # -- liteq's own: alerts ---------------------------------------------------------------------------------------
    Setting("alert_to", Names, (), "A worker tells these of alerts: URLs, `mailto:ADDRESS`, commands of the shell."),
    Setting("alert_every", float, 60.0, "The time between two looks for alerts.", unit="s", minimum=0.1),
    Setting("alert_head_wait", float, 300.0, "A queue whose head waits for longer is told of.", unit="s", minimum=1),
    Setting(
        "alert_failures", int, 20, "A task that failed so often of one exception in an hour is told of.", minimum=1
    ),
    Setting("alert_dead_letters", int, 20, "So many new dead letters in an hour are told of.", minimum=1),
    Setting("alert_approval_wait", float, DAY, "An approval that is open for longer is told of.", unit="s", minimum=1),
    Setting(
        "alert_smtp", str, "smtp://localhost:25", "Mails go by this: `smtp://` or `smtps://`, NAME:PASSWORD@HOST:PORT."
    ),
    Setting("alert_from", str | None, None, "The sender of mails; None: `liteq@` and the host's name."),
    # -- liteq's own: addresses of other tools ---------------------------------------------------------------------
    Setting(
        "trace_url_template",
        str | None,
        None,
        "The address of a task's trace, for the dashboard: `https://jaeger.example.org/trace/{trace_id}`.",
        fields=("trace_id", "task_id", "root_id", "task"),
    ),
    Setting(
        "sentry_url_template",
        str | None,
        None,
        "The address of a task's errors in Sentry: `https://example.sentry.io/issues/?query=liteq_task_id:{task_id}`.",
        fields=("trace_id", "task_id", "root_id", "task"),
    ),
    # -- liteq's own: mistakes -----------------------------------------------------------------------------------
    Setting(
        "unknown_options",
        str,
        "refuse",
        "An option of a call, a task or a retry that is none: refused with the nearest name, logged, or let pass in "
        "silence as by Celery.",
        choices=("refuse", "warn", "ignore"),
    ),
    # -- liteq's own: limits -------------------------------------------------------------------------------------
    Setting("max_payload_bytes", int, MIB, "Arguments of one message.", unit="bytes", minimum=KIB),
    Setting("max_result_bytes", int, MIB, "One result.", unit="bytes", minimum=KIB),
    Setting("max_traceback_bytes", int, 64 * KIB, "One traceback; its middle goes.", unit="bytes", minimum=KIB),
    Setting("max_nesting", int, 100, "Containers in containers, in arguments and results.", minimum=4, maximum=200),
    # -- liteq's own: the gateway --------------------------------------------------------------------------------
    Setting("gateway_max_body", int, MIB, "The body of one request to the gateway.", unit="bytes", minimum=KIB),
    Setting("gateway_max_batch", int, 1_000, "Calls, or leases, of one request to the gateway.", minimum=1),
    Setting("gateway_read_timeout", float, 10.0, "The time in which all of a request must have come.", unit="s"),
    Setting("gateway_tasks", dict, {}, "The task, by queue, that a plain body sent to the gateway is for."),
    # -- liteq's own: replication --------------------------------------------------------------------------------
    Setting("litestream_socket", str | None, None, "Litestream's control socket, for calls with `replicated=True`."),
    Setting("replicated_timeout", float, 10.0, "Wait for Litestream before NotReplicated.", unit="s", minimum=0.1),
    # -- liteq's own: the engine ---------------------------------------------------------------------------------
    Setting(
        "file_mode",
        str,
        "600",
        "A new file is its user's alone (`600`), or its group's too (`660`).",
        choices=("600", "660"),
    ),
    Setting("sqlite_driver", str, "apsw", "The binding that is used.", choices=("apsw", "stdlib")),
    Setting(
        "allow_network_filesystem",
        bool,
        False,
        "Open a file that machines share (NFS, SMB, virtiofs); it can be damaged there.",
    ),
]

SETTINGS: dict[str, Setting] = {row.name: row for row in _ROWS}
