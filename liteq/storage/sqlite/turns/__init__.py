"""Processes that share a file: turns at the write gate, forks, and who holds a lock."""
