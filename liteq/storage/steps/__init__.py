"""The history of runs as rows, and how a run sleeps and wakes: the part of the verbs of messages that runs have."""
