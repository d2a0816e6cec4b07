"""Tasks and queues as documents: lists and their search, one task and why it is as it is, limits, failures."""
