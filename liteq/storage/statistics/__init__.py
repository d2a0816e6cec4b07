"""Sums and samples of what happened: counts, causes of failures, attempts, events."""
