"""Rows by themselves: large documents beside them, results as JSON, and how long each is needed."""
