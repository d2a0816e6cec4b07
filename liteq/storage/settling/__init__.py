"""Messages end: by their outcomes, by a cancel, by the end of a run, as dead letters."""
