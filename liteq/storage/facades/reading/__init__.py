"""Reading: messages, statistics, batches, events, streams; for people, monitors and programs."""
