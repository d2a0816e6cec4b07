"""One activation of a run: from its lease to its outcome."""
