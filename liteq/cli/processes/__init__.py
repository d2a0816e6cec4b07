"""Commands that stay and work: a worker, a beat, a relay; and how such a process is run."""
