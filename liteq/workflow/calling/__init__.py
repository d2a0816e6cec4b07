"""The calls of a body: steps, waits, children, and effects on others."""
