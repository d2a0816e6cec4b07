"""The history of a run, in the process that executes it: where a body is, what it is answered, how it is left."""
