"""Methods of a task, by what they are for."""
