"""Commands on the file: copied, restored, moved, brought up to date, examined."""
