"""Litestream for an operator: its configuration for a queue, and a queue out of a replica."""
