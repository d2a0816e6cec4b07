"""Celery's names for settings: the ones liteq takes and has no use for, and those from before version 4."""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["NO_EFFECT", "WHY_NO_EFFECT", "new_name", "old_name", "unused_default"]

# Accepted and named in one warning: they steer brokers, result stores and machinery that liteq does not have.
NO_EFFECT = frozenset(
    """
    beat_enable_remote_control beat_remote_control_max_tick_age beat_schedule_filename beat_scheduler beat_sync_every
    broker_read_url broker_write_url broker_transport broker_connection_timeout broker_connection_retry
    broker_connection_retry_on_startup broker_connection_max_retries broker_channel_error_retry
    broker_failover_strategy broker_heartbeat broker_heartbeat_checkrate broker_login_method
    broker_native_delayed_delivery_queue_type broker_pool_limit broker_pool_acquire_timeout broker_use_ssl
    broker_host broker_port broker_user broker_password broker_vhost
    cache_backend cache_backend_options
    cassandra_entry_ttl cassandra_keyspace cassandra_port cassandra_read_consistency cassandra_servers
    cassandra_bundle_path cassandra_table cassandra_write_consistency cassandra_auth_provider cassandra_auth_kwargs
    cassandra_options
    s3_access_key_id s3_secret_access_key s3_bucket s3_base_path s3_endpoint_url s3_region
    azureblockblob_container_name azureblockblob_retry_initial_backoff_sec azureblockblob_retry_increment_base
    azureblockblob_retry_max_attempts azureblockblob_base_path azureblockblob_connection_timeout
    azureblockblob_read_timeout
    gcs_bucket gcs_project gcs_base_path gcs_ttl
    control_queue_ttl control_queue_expires control_queue_exclusive control_queue_durable control_exchange
    couchbase_backend_settings arangodb_backend_settings mongodb_backend_settings
    cosmosdbsql_database_name cosmosdbsql_collection_name cosmosdbsql_consistency_level
    cosmosdbsql_max_retry_attempts cosmosdbsql_max_retry_wait_time
    event_queue_expires event_queue_ttl event_queue_prefix event_queue_exclusive event_queue_durable event_serializer
    event_exchange
    redis_backend_use_ssl redis_db redis_host redis_max_connections redis_username redis_password redis_port
    redis_socket_timeout redis_socket_connect_timeout redis_retry_on_timeout redis_socket_keepalive
    result_cache_max result_exchange result_exchange_type result_chord_expires
    result_persistent result_backend_transport_options result_chord_retry_interval
    result_chord_join_timeout result_backend_max_sleep_between_retries_ms result_backend_max_retries
    result_backend_base_sleep_between_retries_ms result_backend_always_retry
    elasticsearch_retry_on_timeout elasticsearch_max_retries elasticsearch_timeout elasticsearch_save_meta_as_text
    security_certificate security_cert_store security_key security_key_password security_digest
    database_url database_engine_options database_engine_callback database_short_lived_sessions
    database_table_schemas database_table_names database_create_tables_at_setup
    task_acks_on_failure_or_timeout task_acks_on_failure task_acks_on_timeout
    task_create_missing_queue_type task_create_missing_queue_exchange_type task_default_delivery_mode
    task_default_queue_type task_default_exchange task_default_exchange_type task_default_routing_key task_protocol
    task_publish_retry task_publish_retry_policy task_queue_max_priority task_retry_on_worker_lost
    task_remote_tracebacks task_repr_maxlevels
    worker_agent worker_autoscaler worker_cancel_long_running_tasks_on_connection_loss
    worker_enable_soft_shutdown_on_idle worker_consumer worker_deduplicate_successful_tasks
    worker_lost_wait worker_pool_putlocks worker_eta_task_limit
    worker_enable_prefetch_count_reduction worker_disable_prefetch worker_state_db worker_timer
    worker_prefetch_multiplier worker_proc_alive_timeout
    worker_timer_precision worker_detect_quorum_queues
    """.split()  # noqa: SIM905 - a list of names, one a string, would be three times as long
)

# The values that programs read of them, `if app.conf.task_protocol < 2`: Celery's defaults, where those are not None.
_DEFAULTS: dict[str, Any] = {
    "azureblockblob_base_path": "", "azureblockblob_connection_timeout": 20,
    "azureblockblob_container_name": "celery", "azureblockblob_read_timeout": 120,
    "azureblockblob_retry_increment_base": 2, "azureblockblob_retry_initial_backoff_sec": 2,
    "azureblockblob_retry_max_attempts": 3, "beat_enable_remote_control": False,
    "beat_schedule_filename": "celerybeat-schedule", "beat_scheduler": "celery.beat:PersistentScheduler",
    "beat_sync_every": 0, "broker_channel_error_retry": False, "broker_connection_max_retries": 100,
    "broker_connection_retry": True, "broker_connection_timeout": 4, "broker_heartbeat": 120,
    "broker_heartbeat_checkrate": 3.0, "broker_native_delayed_delivery_queue_type": "quorum", "broker_pool_limit": 10,
    "broker_use_ssl": False, "cache_backend_options": {}, "cassandra_options": {}, "control_exchange": "celery",
    "control_queue_durable": False, "control_queue_exclusive": True, "control_queue_expires": 10.0,
    "control_queue_ttl": 300.0, "cosmosdbsql_collection_name": "celerycol",
    "cosmosdbsql_consistency_level": "Session", "cosmosdbsql_database_name": "celerydb",
    "cosmosdbsql_max_retry_attempts": 9, "cosmosdbsql_max_retry_wait_time": 30,
    "database_create_tables_at_setup": True,
    "database_engine_options": {"pool_pre_ping": True, "pool_recycle": 3600}, "database_short_lived_sessions": False,
    "elasticsearch_save_meta_as_text": True, "event_exchange": "celeryev", "event_queue_durable": False,
    "event_queue_exclusive": True, "event_queue_expires": 60.0, "event_queue_prefix": "celeryev",
    "event_queue_ttl": 5.0, "event_serializer": "json", "gcs_base_path": "", "gcs_ttl": 0,
    "redis_retry_on_timeout": False, "redis_socket_keepalive": False, "redis_socket_timeout": 120.0,
    "result_backend_always_retry": False, "result_backend_base_sleep_between_retries_ms": 10,
    "result_backend_max_retries": float("inf"), "result_backend_max_sleep_between_retries_ms": 10000,
    "result_backend_transport_options": {}, "result_cache_max": -1, "result_chord_join_timeout": 3.0,
    "result_chord_retry_interval": 1.0, "result_exchange": "celeryresults", "result_exchange_type": "direct",
    "security_digest": "sha256", "task_acks_on_failure_or_timeout": True,
    "task_create_missing_queue_type": "classic", "task_default_delivery_mode": 2,
    "task_default_exchange_type": "direct", "task_default_queue_type": "classic", "task_protocol": 2,
    "task_publish_retry": True,
    "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2},
    "task_remote_tracebacks": False, "task_repr_maxlevels": 3, "task_retry_on_worker_lost": False,
    "worker_autoscaler": "celery.worker.autoscale:Autoscaler",
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_consumer": "celery.worker.consumer:Consumer", "worker_deduplicate_successful_tasks": False,
    "worker_detect_quorum_queues": True, "worker_disable_prefetch": False,
    "worker_enable_prefetch_count_reduction": True, "worker_enable_soft_shutdown_on_idle": False,
    "worker_lost_wait": 10.0, "worker_pool_putlocks": True,
    "worker_prefetch_multiplier": 4, "worker_proc_alive_timeout": 4.0, "worker_timer_precision": 1.0,
}  # fmt: skip


def unused_default(name: str) -> Any:
    """Celery's default of `name`, a setting without effect; a copy, so that no reader changes it for the next."""
    return copy.deepcopy(_DEFAULTS.get(name))


# Of those that are often set, why: the others speak of something that is not here.
WHY_NO_EFFECT = {
    "beat_schedule_filename": "the schedule is in the queue's file",
    "beat_scheduler": "entries are rows in the queue's file",
    "broker_connection_retry_on_startup": "there is no connection that could fail",
    "broker_pool_limit": "there are no connections",
    "result_chord_join_timeout": "a chord's body starts in the commit of the last of its header",
    "task_acks_on_failure_or_timeout": "what failed is a dead letter, and can be replayed",
    "task_default_delivery_mode": "every message is on disk: see `durability`",
    "task_publish_retry": "sending is a commit: it waits for the lock up to `busy_timeout`",
    "task_queue_max_priority": "priorities are any integers",
    "task_repr_maxlevels": "what is shown of arguments is cut by its length",
    "worker_autoscaler": "there is one, `--autoscale`; it cannot be replaced",
    "worker_cancel_long_running_tasks_on_connection_loss": "a task whose lease was lost is ended",
    "worker_deduplicate_successful_tasks": "a message that succeeded is not delivered again",
    "worker_disable_prefetch": "what a process has not begun goes to the next free one",
    "worker_enable_soft_shutdown_on_idle": "an idle worker leaves at once",
    "worker_lost_wait": "a process's death is seen when it happens",
    "worker_prefetch_multiplier": "what a process has not begun goes to the next free one, so there is nothing to tune",
    "worker_proc_alive_timeout": "a process that has not begun what it was given is passed over meanwhile",
    "worker_state_db": "revokes are in the queue's file",
}

# An old name is made from a new one by its first word: task_acks_late was CELERY_ACKS_LATE.
_OLD_PREFIX = {"worker": "CELERYD_", "task": "CELERY_", "beat": "CELERYBEAT_"}
_KEPT_AS_THEY_WERE = frozenset({"azureblockblob", "broker", "cassandra", "control", "cosmosdbsql", "gcs", "s3"})
_IRREGULAR = {
    "database_create_tables_at_setup": "DATABASE_CREATE_TABLES_AT_SETUP",
    "database_engine_callback": "DATABASE_ENGINE_CALLBACK",
    "database_engine_options": "CELERY_RESULT_ENGINE_OPTIONS",
    "database_short_lived_sessions": "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    "database_table_names": "CELERY_RESULT_DB_TABLENAMES",
    "database_table_schemas": "DATABASE_TABLE_SCHEMAS",
    "database_url": "CELERY_RESULT_DBURI",
    "enable_utc": "ENABLE_UTC",
    "result_accept_content": "RESULT_ACCEPT_CONTENT",
    "result_cache_max": "CELERY_MAX_CACHED_RESULTS",
    "result_expires": "CELERY_TASK_RESULT_EXPIRES",
    "task_compression": "CELERY_MESSAGE_COMPRESSION",
    "task_eager_propagates": "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
    "task_protocol": "CELERY_TASK_PROTOCOL",
    "task_publish_retry": "CELERY_TASK_PUBLISH_RETRY",
    "task_publish_retry_policy": "CELERY_TASK_PUBLISH_RETRY_POLICY",
    "task_send_sent_event": "CELERY_SEND_TASK_SENT_EVENT",
    "task_serializer": "CELERY_TASK_SERIALIZER",
    "task_soft_time_limit": "CELERYD_TASK_SOFT_TIME_LIMIT",
    "task_time_limit": "CELERYD_TASK_TIME_LIMIT",
    "worker_direct": "CELERY_WORKER_DIRECT",
    "worker_disable_rate_limits": "CELERY_DISABLE_RATE_LIMITS",
    "worker_enable_remote_control": "CELERY_ENABLE_REMOTE_CONTROL",
    "worker_lost_wait": "CELERYD_WORKER_LOST_WAIT",
    "worker_redirect_stdouts": "CELERY_REDIRECT_STDOUTS",
    "worker_redirect_stdouts_level": "CELERY_REDIRECT_STDOUTS_LEVEL",
    "worker_send_task_events": "CELERY_SEND_EVENTS",
}


def old_name(name: str) -> str:
    """The name that Celery's setting `name` had before version 4: `worker_concurrency` was `CELERYD_CONCURRENCY`."""
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    first, _, rest = name.partition("_")
    if first in _KEPT_AS_THEY_WERE:
        return name.upper()
    return _OLD_PREFIX[first] + rest.upper() if first in _OLD_PREFIX else "CELERY_" + name.upper()


def new_name(names: frozenset[str]) -> dict[str, str]:
    """From each old name to the new one, for `names`, Celery's new ones."""
    return {old_name(name): name for name in names}
