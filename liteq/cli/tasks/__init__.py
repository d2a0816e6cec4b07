"""Commands on tasks: sent, read, acted on, explained."""
