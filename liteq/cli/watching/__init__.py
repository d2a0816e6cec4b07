"""Commands that show the workers and what they do, and ask them for something."""
