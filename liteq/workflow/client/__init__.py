"""The side of a run's callers: starting, reading and steering it, and executing it in place."""
