"""Values that tasks, agents and graphs keep beside their messages."""
