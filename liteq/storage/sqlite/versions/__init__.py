"""The schema of a file: its marks, its version, its epoch, and what it must have."""
