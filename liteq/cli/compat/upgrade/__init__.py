"""What `liteq upgrade-check` knows of Celery (`facts`), read from Python (`sources`) and from text (`scripts`)."""
