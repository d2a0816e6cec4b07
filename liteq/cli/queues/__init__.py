"""Commands on queues: paused, limited, filled by schedules."""
