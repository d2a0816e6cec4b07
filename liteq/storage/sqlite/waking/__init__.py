"""Wake-ups: a bell beside the file, and the listeners of each system."""
