"""Values that tasks keep beside their result: cursors, streams, logs, sessions, the memory of flows."""
