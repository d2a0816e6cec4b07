"""The words of a flow that are not in its schema: synonyms, those without an effect, those that are refused and why."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACTIONS_REFUSED", "CONTEXT", "IN_HANDLERS", "IN_STEP", "NO_EFFECT", "NO_EFFECT_IN_STEP", "REFUSED",
    "REFUSED_IN_SCHEDULE", "REFUSED_IN_STEP", "RESERVED", "SYNONYMS", "SYNONYMS_IN_STEP", "obeyed", "refused_action",
]  # fmt: skip

USE_TASK = "use `task:`, a function of an app"

# One word for another. A word in camelCase stands for the same with underscores, wherever that is known.
SYNONYMS: Final = {
    "cron": "schedule",
    "cwd": "working_dir",
    "dir": "working_dir",
    "env_file": "dotenv",
    "environment": "env",
    "handlers": "handler_on",
    "jobs": "steps",
    "parameters": "params",
    "precondition": "preconditions",
    "tags": "labels",
    "timeout": "timeout_sec",
    "variables": "env",
}
SYNONYMS_IN_STEP: Final = {
    "command": "run",
    "config": "with",
    "cwd": "working_dir",
    "depends_on": "depends",
    "dir": "working_dir",
    "environment": "env",
    "needs": "depends",
    "precondition": "preconditions",
    "repeat": "repeat_policy",
    "retry": "retry_policy",
    "script": "run",
    "timeout": "timeout_sec",
}
REFUSED_IN_SCHEDULE: Final = {
    "stop": "a schedule cannot stop a run: give the flow a `timeout_sec`",
    "restart": "a schedule cannot restart a run: give the flow a `timeout_sec`, and another line to `start`",
}
IN_HANDLERS: Final = {"cancel": "abort"}
# Inside what a step says of itself.
IN_STEP: Final = {
    "continue_on": {"failure": "failed"},
    "retry_policy": {"interval": "interval_sec", "max_interval": "max_interval_sec"},
    "repeat_policy": {"interval": "interval_sec", "max_interval": "max_interval_sec"},
    "parallel": {"max_concurrency": "max_concurrent"},
    "foreach": {"max_concurrency": "max_concurrent"},
}

_KEPT = "what is kept of runs is a setting of the queue"
_LOGS = "the output of each step is in the queue's file"
NO_EFFECT: Final = {
    "artifacts": "artifacts are in the queue's file",
    "group": "labels group runs",
    "hist_retention_days": _KEPT,
    "hist_retention_runs": _KEPT,
    "log_dir": _LOGS,
    "log_output": _LOGS,
    "max_clean_up_time_sec": "a stopped worker's grace is its own setting",
    "max_output_size": "output over 1 MiB is an artifact, of 64 MiB at most",
    "otel": "liteq_otel traces every run",
    "restart_wait_sec": "a run is not restarted by its schedule",
    "run_config": "there is no form for it",
    "webhook": "a web application starts a run by its own route",
}
NO_EFFECT_IN_STEP: Final = {
    "log_output": _LOGS,
    "signal_on_stop": "a step is ended by SIGTERM, then SIGKILL",
}

_MAIL = "use handler_on with `action: mail.send`"
_AGENT = "use `agent:`, an agent of an app"
REFUSED: Final = {
    "actions": "an action of your own is a task: use `task:`",
    "container": USE_TASK,
    "delay_sec": "use a first step with `action: wait.duration`",
    "error_mail": _MAIL,
    "harness": _AGENT,
    "harnesses": _AGENT,
    "info_mail": _MAIL,
    "kubernetes": USE_TASK,
    "llm": _AGENT,
    "mail_on": _MAIL,
    "redis": USE_TASK,
    "registry_auths": USE_TASK,
    "resources": "a worker's service manager limits what it takes",
    "retry_policy": "a step is retried, no flow as a whole; put it below `defaults`",
    "s3": USE_TASK,
    "skip_if_successful": "use `preconditions`",
    "smtp": "the mail server is the worker's own setting",
    "ssh": USE_TASK,
    "step_types": "an action of your own is a task: use `task:`",
    "tasks": _AGENT,
    "tools": USE_TASK,
    "worker_selector": "use `queue`",
}
REFUSED_IN_STEP: Final = {
    "container": USE_TASK,
    "dependencies": USE_TASK,
    "executor": "use `action:` and `with:`",
    "inputs": USE_TASK,
    "llm": _AGENT,
    "mail_on_error": _MAIL,
    "messages": _AGENT,
    "output_schema": "use `output: {key: {from: stdout, decode: json, select: .path}}`, which checks what it selects",
    "shell_packages": USE_TASK,
    "tools": USE_TASK,
    "type": "use `action:` and `with:`",
    "worker_selector": "use `queue`",
}
ACTIONS_REFUSED: Final = {
    "archive": "use `run: tar ...`",
    "artifact": "use `stdout: {artifact: NAME}`, or a file below ${context.paths.artifacts_dir}",
    "chat": _AGENT,
    "container": USE_TASK,
    "data": USE_TASK,
    "docker": USE_TASK,
    "file": "use `run:`; of files there are file.read and file.write",
    "git": "use `run: git ...`",
    "harness": _AGENT,
    "jq": "use `run: jq ...`, or `output: {key: {from: stdout, decode: json, select: .path}}`",
    "k8s": USE_TASK,
    "kubernetes": USE_TASK,
    "postgres": USE_TASK,
    "redis": USE_TASK,
    "s3": USE_TASK,
    "sftp": USE_TASK,
    "sql": USE_TASK,
    "sqlite": USE_TASK,
    "ssh": USE_TASK,
}

RESERVED: Final = frozenset({"env", "params", "consts", "steps", "context", "foreach", "secrets"})

# Names that a shell, the loader of programs or an interpreter obeys: a value from outside is none for them.
_OBEYED: Final = frozenset(
    {"PATH", "IFS", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "HOME", "SHELL", "CDPATH"}
    | {"PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PERL5LIB", "PERL5OPT", "RUBYOPT", "RUBYLIB", "NODE_OPTIONS"}
    | {"NODE_PATH", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "PAGER", "EDITOR", "VISUAL"}
)

CONTEXT: Final = {
    "dag": ("name",),
    "run": ("id", "status", "started_at", "root_name", "root_id"),
    "attempt": ("id", "started_at"),
    "step": ("id", "name"),
    "trigger": ("type", "actor"),
    "paths": ("artifacts_dir", "work_dir"),
}


def obeyed(name: str) -> bool:
    """Whether a variable of this name has a meaning for a shell, a loader, or the worker."""
    return name in _OBEYED or name.startswith(("LD_", "DYLD_", "LITEQ_", "DAGU_", "DAG_RUN_", "BASH_FUNC_"))


def refused_action(name: str) -> str:
    """Why an action is refused; "" where nothing is known of it."""
    if "@" in name or "/" in name:
        return "actions from elsewhere are not fetched: " + USE_TASK
    family = name.partition(".")[0]
    return ACTIONS_REFUSED.get(family, USE_TASK if "sql" in family else "")
