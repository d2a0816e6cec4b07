"""The parts of `liteq upgrade-check`: Celery's names (`facts`), in Python (`sources`) and in text (`scripts`)."""
