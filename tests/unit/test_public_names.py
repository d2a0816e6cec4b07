"""`s/celery/liteq/` on an app's import lines leaves it importing; and `import liteq` alone stays cheap."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import pytest

import liteq
from liteq_celery.finder import resolve
from liteq_celery.names import MODULES

# The names that programs import, by the module from which they do: Celery's, with `liteq` in the place of `celery`.
PUBLIC = {
    "liteq": """
        AsyncResult BatchItem Celery Chunk Debounce EagerResult Exchange GroupResult Limit LiteQ Middleware PausedQueue
        Progress Queue ResultSet Sent Signature Task Throttle Unique __version__ binding chain chord chunks current_app
        current_task group maybe_signature progress shared_task signature subtask task uuid xmap xstarmap
    """,
    "liteq.app": "Celery LiteQ Task current_app current_task default_app progress shared_task",
    "liteq.app.control": "Control Inspect PausedQueue flatten_reply",
    "liteq.app.registry": "TaskRegistry",
    "liteq.app.task": "Context Task",
    "liteq.beat": "Beat BeatLazyFunc",
    "liteq.bootsteps": "ConsumerStep StartStopStep Step",
    "liteq.app.settings": "PendingConf",
    "liteq.settings": "Conf",
    "liteq.canvas": """
        ACCUMULATE CHUNKS MAP STARMAP Signature StampingVisitor chain chord chunks group maybe_signature maybe_subtask
        signature subtask xmap xstarmap _chain _chord
    """,
    "liteq.context": "connect_on_app_finalize get_current_app get_current_task set_current_app set_default_app",
    "liteq.events": "Event EventDispatcher EventReceiver Events State",
    "liteq.events.dispatcher": "EventDispatcher",
    "liteq.events.receiver": "EventReceiver",
    "liteq.events.snapshot": "Polaroid",
    "liteq.events.state": "State Task Worker",
    "liteq.exceptions": """
        AgentStalled AlreadyDecided AlreadyRegistered AlwaysEagerIgnored ApprovalTimeout BackendError
        BackendGetMetaError BackendStoreError BadMessage BudgetExceeded CDeprecationWarning
        CPendingDeprecationWarning CanvasConflict CeleryCommandException CeleryError CeleryWarning ChordError CodecError
        DeterminismWarning
        DuplicateNodenameWarning DuplicateTaskNameWarning EncodeError EventTimeout FixupWarning Ignore
        ImproperlyConfigured IncompleteStream InvalidTaskError LeaseLost LiteqError MaxRetriesExceededError
        MessageNotFound NotEligible
        NoSuchApproval NonDeterminism NotConfigured NotRegistered NotSerializable OperationalError PayloadTooLarge
        QueueNotFound RateLimited ReadTimeout Reject RemoteError Replaced Retry RunCancelled RunConflict RunEnded
        RunNotFound SchemaTooNew SecurityError SecurityWarning SoftTimeLimitExceeded StepInDoubt StepTimeout StorageBusy
        StorageConflict StorageCorrupt StorageDenied StorageError StorageFull StorageInUse NotReplicated NotYetThere
        ReadOnly StorageUnavailable
        TaskError TaskInterrupted TaskPredicate
        TaskRevokedError Terminated TimeLimitExceeded TimeoutError WorkerLostError WorkerShutdown
        WorkerTerminate WorkflowCancelled WorkflowError reraise
    """,
    "liteq.middleware": "Call Execution Middleware Middlewares",
    "liteq.result": """
        AsyncResult EagerResult GroupResult ResultBase ResultSet allow_join_result assert_will_not_block
        denied_join_result result_from_tuple
    """,
    "liteq.result.graph": "DependencyGraph",
    "liteq.routing.queues": "Exchange Queue binding",
    "liteq.schedules": """
        BaseSchedule NeverDue ParseException crontab crontab_parser from_document maybe_schedule schedstate schedule
        solar to_document
    """,
    "liteq.serialization": "register register_type unregister",
    "liteq.signals": """
        Signal after_setup_logger after_setup_task_logger after_task_publish approval_requested beat_embedded_init
        beat_init
        before_task_publish celeryd_after_setup celeryd_init eventlet_pool_apply eventlet_pool_postshutdown
        eventlet_pool_preshutdown eventlet_pool_started heartbeat_sent setup_logging step_in_doubt task_failure
        task_internal_error
        task_postrun task_prerun task_received task_rejected task_retry task_revoked task_success task_unknown
        approval_requested workflow_failed workflow_stuck
        worker_before_create_process worker_init worker_process_init worker_process_shutdown worker_ready
        worker_shutdown worker_shutting_down workflow_failed workflow_stuck
    """,
    "liteq.states": """
        ALL_STATES EXCEPTION_STATES FAILURE IGNORED PENDING PRECEDENCE PROPAGATE_STATES READY_STATES RECEIVED REJECTED
        RETRY REVOKED STARTED SUCCESS UNREADY_STATES precedence state
    """,
    "liteq.testing": "FakeClock NotRecorded WorkflowTest drain eager",
    "liteq.testing.plugin": """
        celery_app celery_class_tasks celery_config celery_enable_logging celery_includes celery_parameters
        celery_session_app celery_session_worker celery_worker celery_worker_parameters celery_worker_pool
        depends_on_current_app use_celery_app_trap
    """,
    "liteq.testing.worker": "start_worker",
    "liteq.utils.log": """
        ColorFormatter TaskFields TaskFormatter add_fields add_task_fields base_logger drop_fields get_logger
        get_task_logger mlevel set_task_details set_task_lookup task_fields task_logger without_secrets worker_logger
    """,
    "liteq.worker": "Worker",
    "liteq.workflow": """
        Approval Budget Done Failure Handle NotDone Run Secret Step StepOptions Usage Workflow actx ctx
    """,
    "liteq.worker.control": "COMMANDS CommandInfo META Panel control_command inspect_command",
    "liteq.worker.control.commands": """
        add_consumer autoscale cancel_consumer disable_events election enable_events error heartbeat log_level ok
        pool_grow pool_restart pool_shrink rate_limit revoke revoke_by_stamped_headers shutdown terminate time_limit
    """,
    "liteq.worker.control.inspect": """
        active active_queues clock conf hello memdump memsample objgraph ping query_task registered report reserved
        revoked scheduled stats
    """,
}

# Modules of Celery's whose path in liteq is the same.
SAME_PATH = """
    celery celery.app celery.app.control celery.app.registry celery.app.task celery.beat celery.bootsteps celery.canvas
    celery.events celery.events.dispatcher celery.events.receiver celery.events.snapshot celery.events.state
    celery.exceptions celery.result celery.schedules celery.signals celery.states celery.utils.log celery.worker
    celery.worker.control
"""

# Objects of liteq that only a program under the shim asks for, by Celery's own paths.
OF_THE_SHIM = (
    "liteq.app.compat", "liteq.app.settings", "liteq.beat.entries", "liteq.cli", "liteq.execution",
    "liteq.sending.producer", "liteq.utils.proxy", "liteq.worker.control.commands", "liteq.worker.control.inspect",
    "liteq.worker.pool.prefork.child", "liteq_django.task",
)  # fmt: skip

# Names of liteq's own in a module that stands for one of Celery's: no program of Celery's asks for them.
OURS = """
    result.line_as_tuple
    canvas.LazyTasks canvas.Node canvas.as_list canvas.evaluate canvas.is_void canvas.merged_options states.EXPIRABLE
    states.FINISHED states.FOLLOWED states.LEGAL states.NONE_PRECEDENCE states.PRECEDENCE_LOOKUP states.STORABLE
    states.State states.UNFINISHED states.UNSTARTED states.celery_state states.sql_list
""".split()


@pytest.mark.parametrize("module", PUBLIC)
def test_the_names_are_there(module):
    loaded = importlib.import_module(module)
    assert [name for name in PUBLIC[module].split() if not hasattr(loaded, name)] == []


def aliases() -> list[tuple[str, str, str]]:
    """Each of Celery's names that liteq has: its module, itself, and where it is in liteq."""
    return [
        (module, name, path)
        for module, alias in MODULES.items()
        for name in sorted({*alias.names, *offered_by(alias.whole)})
        if (path := alias.path_of(name)) is not None and path.startswith("liteq.")
    ]


def offered_by(module: str | None) -> list[str]:
    return [] if module is None else getattr(importlib.import_module(module), "__all__", [])


def test_every_name_of_celerys_leads_to_something():
    assert [(module, name) for module, name, path in aliases() if resolve(path) is None] == []


def test_every_name_of_celerys_is_listed_here():
    listed = {id(getattr(importlib.import_module(m), name)) for m, names in PUBLIC.items() for name in names.split()}
    missing = [
        (f"{module}.{name}", path)
        for module, name, path in aliases()
        if id(resolve(path)) not in listed
        and not path.startswith(OF_THE_SHIM)
        and f"{module.removeprefix('celery.')}.{name}" not in OURS
    ]
    assert missing == []


def test_modules_that_celery_has_are_modules_of_liteq_too():
    """`s/celery/liteq/` on an import line is enough for these."""
    same = [f"liteq{name.removeprefix('celery')}" for name in SAME_PATH.split()]
    assert [name for name in same if importlib.util.find_spec(name) is None] == []
    assert {name for name in same if name != "liteq"} <= {*PUBLIC}


def test_every_public_name_loads_and_is_listed():
    assert set(liteq.__all__) <= set(dir(liteq))
    assert all(getattr(liteq, name) is not None for name in liteq.__all__ if not name.startswith("current"))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = liteq.nonsense


def test_the_decorator_is_not_hidden_by_a_module():
    importlib.import_module("liteq.app.task")
    from liteq import shared_task, task

    assert task is shared_task


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_liteq_loads_nothing():
    loaded = run("import sys, liteq; print(sorted(m for m in sys.modules if m.startswith('liteq')))")
    assert loaded == "['liteq', 'liteq._version']"


def test_an_app_with_tasks_loads_no_pydantic_no_click_and_no_sqlite():
    loaded = run(
        "import sys\n"
        "from liteq import LiteQ, shared_task\n"
        "app = LiteQ('x', broker='sqlite:///x.db')\n"
        "app.task(name='t')(lambda: 1)\n"
        "print(sorted({'pydantic', 'click', 'rich', 'apsw', 'sqlite3'} & sys.modules.keys()))"
    )
    assert loaded == "[]"


def test_a_worker_loads_nothing_for_its_first_task_that_few_tasks_need():
    loaded = run(
        "import sys\n"
        "import liteq.cli.logs, liteq.cli.processes.worker\n"
        "import liteq.worker.compat.worker, liteq.worker.pool.prefork.pool\n"
        "from liteq import LiteQ\n"
        "app = LiteQ('x', broker='sqlite:////tmp/never-opened/x.db')\n"
        "app.task(name='t')(lambda: 1)\n"
        "app.open_storage()\n"
        "few = 'asyncio concurrent.futures difflib email logging.handlers pickle shutil sqlite3 tempfile zipfile'\n"
        "ours = 'app.compat.backend app.compat.connection beat storage.sqlite.keeping.restore workflow'\n"
        "few = {*few.split(), *(f'liteq.{name}' for name in ours.split())}\n"
        "print(sorted(few & sys.modules.keys()))"
    )
    assert loaded == "[]"
