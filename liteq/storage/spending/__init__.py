"""Spending of steps: usage, budgets, and reservations that go with the lease of a run (ADR 0037)."""
