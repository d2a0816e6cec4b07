"""The schema of a flow's file, the check by it, and forms for people."""
