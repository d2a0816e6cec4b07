"""Control and events cross over between Celery's workers on a file and liteq's: each kind is known to the other."""
