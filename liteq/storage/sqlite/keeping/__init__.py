"""The upkeep of a file: its log, free pages, space in reserve, copies."""
