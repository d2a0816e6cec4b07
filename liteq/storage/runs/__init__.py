"""Durable workflows: runs, their history, and what is asked of them. Each verb in the file that bears its name."""
