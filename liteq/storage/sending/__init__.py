"""Messages come in: enqueued one by one or in numbers, under unique keys, from schedules and exchanges."""
